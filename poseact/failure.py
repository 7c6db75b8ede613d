"""What goes wrong before a stage, while the stage still holds something good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Failure:
    """Lets a stage that holds items back hand them on before it tells what went wrong with those to come.

    failure = Failure()
    for item in failure.after(items): ...
    yield from waiting
    failure.check()

    also: what it does so for beside every Exception.
    """

    def __init__(self, also: type[BaseException] = Exception) -> None:
        self._held_back = (Exception, also)
        self._error: BaseException | None = None

    def after(self, items: Iterable[T]) -> Iterator[T]:
        """The same items; where they fail, they end."""
        try:
            yield from items
        except self._held_back as error:
            self._error = error

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            raise self._error
