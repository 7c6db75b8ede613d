"""`--profile`: what each stage of the chain did, and which one limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table

from .console import say, stderr

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from ..watch import StageTimes


def say_profile(pipeline: Pipeline) -> None:
    """Print a table of the stages on stderr.

    busy: share of the time in which a stage worked; starved: waited for the stage before; blocked: its queue was full,
    so it waited for the stage after; waiting: for the answer of a network. What is left is before it began or after it
    ended.
    """
    if pipeline.watch is None:
        return
    seconds, times = pipeline.watch.seconds(), pipeline.watch.times()
    table = Table(title=f"{seconds:.1f} s on {pipeline.device}", caption=_limit(times, seconds), caption_justify="left")
    table.add_column("stage")
    for name in ("items", "items/s", "busy", "starved", "blocked", "waiting"):
        table.add_column(name, justify="right")
    for name, found in times.items():
        rate = f"{found.items / found.working:.1f}" if found.working > 0 else ""
        shares = [found.working, found.starved, found.blocked, found.waiting]
        told = [f"{share / _seconds_of(found, seconds):.0%}" for share in shares]
        table.add_row(name, str(found.items), rate, *told)
    console = stderr()
    console.print(table)


def _limit(times: dict[str, StageTimes], seconds: float) -> str:
    busy = {name: found.working / _seconds_of(found, seconds) for name, found in times.items()}
    name, share = max(busy.items(), key=lambda item: item[1])
    return f"{name} limits: it works {share:.0%} of the time. items/s are of the time in which a stage works."


def _seconds_of(found: StageTimes, seconds: float) -> float:
    """What a stage's times are shares of: the whole time, as often as the stage was there at once. Videos one after the
    other have a thread each, and still only one at a time."""
    return max(seconds, found.lived)


def say_latency(latencies: Iterable[float]) -> None:
    """Tell how long after the last picture of a clip its label was there."""
    ordered = sorted(latencies)
    middle, late = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    say(f"labels came {middle:.2f} s after the last picture of their clip (95 % of them within {late:.2f} s)")
