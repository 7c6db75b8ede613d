"""The errors a user can meet, each with the exit code the command line ends with.

PoseActError
├── UsageError        2   the call itself is wrong
├── InputError        3   a video or a pose file cannot be read
├── ModelError        4   a detector, pose model or classifier cannot be used
├── OutputError       5   results cannot be written
├── SomeInputsFailed  6   several inputs were given and some of them failed
└── StalledError      7   a stage of the chain does not go on

Each message is one sentence for a person: which file, what is wrong, what to do.
"""


class PoseActError(Exception):
    """Base of everything that PoseAct raises on purpose."""

    exit_code = 1


class UsageError(PoseActError):
    """The call itself is wrong: an option's value, or options that contradict each other."""

    exit_code = 2


class InputError(PoseActError):
    """A video or a pose file is missing, broken, or not what its name says."""

    exit_code = 3


class ModelError(PoseActError):
    """A detector, pose model or classifier is missing, not verified, or does not fit."""

    exit_code = 4


class OutputError(PoseActError):
    """A result cannot be written: no permission, no space, no such folder."""

    exit_code = 5


class SomeInputsFailed(PoseActError):
    """Several inputs were given; those that could be read are done, the others are reported."""

    exit_code = 6


class StalledError(PoseActError):
    """A stage of the chain does not go on: a disk, a driver or a network hangs."""

    exit_code = 7
