"""Options that reach a command's function as one argument."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
_BUILDS = "unsam_builds"
"""Attribute of a command's function: what makes its arguments of the values of options."""


def bundle(
    name: str, build: Callable[..., Any], *declarations: Callable[[Any], Any]
) -> Callable[[F], F]:
    """Declare options whose values reach the function as one argument, made by `build`.

    `build` makes it twice: first, :func:`build_all` only wants to know whether it can be made.
    """

    def decorate(function: F) -> F:
        taken = _names(declarations)

        def made(values: Mapping[str, Any]) -> Any:
            return build(**{key: values[key] for key in taken})

        @functools.wraps(function)
        def wrapper(**kwargs: Any) -> Any:
            mine = {key: kwargs.pop(key) for key in taken}
            return function(**{name: made(mine)}, **kwargs)

        setattr(wrapper, _BUILDS, (made, *getattr(function, _BUILDS, ())))
        for declare in reversed(declarations):
            wrapper = declare(wrapper)
        return wrapper  # type: ignore[return-value]

    return decorate


def _names(declarations: tuple[Callable[[Any], Any], ...]) -> list[str]:
    """Return the parameter names that `declarations` add to a function."""

    def probe() -> None: ...

    for declare in declarations:
        declare(probe)
    return [parameter.name for parameter in probe.__click_params__]  # type: ignore[attr-defined]


def build_all(function: Callable[..., Any] | None, values: Mapping[str, Any]) -> None:
    """Make the arguments of a command's function of the values of its options, and drop them.

    Raises
    ------
    UsageError
        The values do not fit together.
    """
    for made in getattr(function, _BUILDS, ()):
        made(values)
