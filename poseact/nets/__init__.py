"""The networks: what a name stands for, and what the paper says of it (tables 2, 3 and 11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..errors import UsageError
from .c3d import c3d
from .conv import Recogniser
from .slowonly import slowonly
from .x3d import x3d


@dataclass(frozen=True)
class Net:
    """A network by name. build(in_channels, n_labels, dropout); clip_len, size: frames and (H, W) of its volumes.

    paper_params: parameters without the head; paper_flops: multiply-adds of one volume of 17 channels, both as
    the paper gives them. note: where the reference files differ from the paper, they are followed.
    """

    name: str
    build: Callable[..., Recogniser]
    paper_params: float
    paper_flops: float
    clip_len: int = 48
    size: tuple[int, int] = (56, 56)
    note: str = ""


_POOLS = "stem pools 3×3 with stride 1 as PYSKL's; the paper's table has no pool"
NETS = {
    net.name: net
    for net in (
        Net("slowonly", slowonly, 2.0e6, 15.9e9, note=_POOLS),
        Net("slowonly-wide", partial(slowonly, width=64), 7.9e6, 54.9e9, note=_POOLS),
        Net("slowonly-hr", partial(slowonly, blocks=(3, 4, 6, 3)), 8.0e6, 73.0e9, size=(112, 112), note=_POOLS),
        Net("slowonly-group", partial(slowonly, width=16), 0.52e6, 1.6e9, clip_len=12, note="the volleyball setting"),
        Net("c3d", c3d, 6.9e6, 25.2e9, note="pools by average as PYSKL's; the paper's table says maximum"),
        Net("c3d-s", partial(c3d, stages=3), 3.4e6, 16.8e9, note="pools by average as PYSKL's light C3D"),
        Net("x3d", x3d, 531e3, 1.1e9),
        Net("x3d-s", partial(x3d, blocks=(2, 5, 3)), 241e3, 0.6e9),
    )
}


def find_net(name: str) -> Net:
    """The network of that name. Raises UsageError naming those that there are."""
    if name not in NETS:
        raise UsageError(f"there is no network {name!r}; choose one of {', '.join(NETS)}")
    return NETS[name]
