"""Options that several commands share, as one dataclass instead of one parameter each."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints


def takes(group: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The command, whose one parameter of this dataclass becomes, for Typer, the dataclass's fields."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own, hints = inspect.signature(command).parameters, get_type_hints(command, include_extras=True)
        (name,) = (name for name, hint in hints.items() if hint is group)
        shared, shared_hints = inspect.signature(group).parameters, get_type_hints(group, include_extras=True)

        @functools.wraps(command)
        def run(**given: Any) -> None:
            chosen = group(**{field: given.pop(field) for field in shared})
            command(**given, **{name: chosen})

        flat: dict[str, inspect.Parameter] = {}
        for key, parameter in own.items():
            flat |= _typed(shared, shared_hints) if key == name else _typed({key: parameter}, hints)
        del run.__wrapped__  # type: ignore[attr-defined]  # whose signature Typer would take
        run.__signature__ = inspect.Signature(list(flat.values()))  # type: ignore[attr-defined]
        run.__annotations__ = {key: parameter.annotation for key, parameter in flat.items()}
        return run

    return decorate


def _typed(parameters: Mapping[str, inspect.Parameter], hints: Mapping[str, Any]) -> dict[str, inspect.Parameter]:
    return {
        key: parameter.replace(annotation=hints[key], kind=inspect.Parameter.KEYWORD_ONLY)
        for key, parameter in parameters.items()
    }
