"""Options made of settings classes: see :mod:`unsam_cli.settings`.

``@settings_options("method", ConquerSettings)`` declares an option for each declared field and
hands the command one object, ``method``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, Field
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, get_args, get_origin, get_type_hints

import click

from unsam_cli.cli.bundle import F, bundle
from unsam_cli.cli.command import option
from unsam_cli.settings import Declared, declared_fields


def settings_options(
    name: str,
    settings: type[Any],
    *,
    build: Callable[..., Any] | None = None,
    callbacks: Mapping[str, Callable[..., Any]] | None = None,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    leave_out: Collection[str] = (),
    unset: bool = False,
) -> Callable[[F], F]:
    """Declare the options of a settings class; the command gets one object.

    Parameters
    ----------
    name : str
        The parameter of the command's function.
    settings : type
        A dataclass whose fields were declared with :func:`~unsam_cli.settings.setting`.
    build : callable, optional
        Makes the object of the values by field; by default `settings` itself.
    callbacks : dict of callable, optional
        Callbacks of click for some fields.
    presets : dict of dict, optional
        Defaults of options by the value of the field ``preset``, below those of a config file.
    leave_out : collection of str
        Fields that the command does not offer.
    unset : bool
        Options have no defaults, and the values that the user gave arrive as a dict: for commands
        that choose the class later.
    """
    chosen = [(f, d) for f, d in declared_fields(settings) if f.name not in leave_out]
    fields_of = {_parameter(f, d): (f.name, unset or bool(d.default_text)) for f, d in chosen}

    def make(**values: Any) -> Any:
        given = {}
        for key, value in values.items():
            field_name, may_be_unset = fields_of[key]
            if not may_be_unset or (value is not None and value is not False):
                given[field_name] = value
        return given if unset else (build or settings)(**given)

    called = {**(callbacks or {}), **({"preset": _preset_reader(presets)} if presets else {})}
    return bundle(name, make, *_declare(settings, chosen, unset=unset, callbacks=called))


def _preset_reader(presets: Mapping[str, Mapping[str, Any]]) -> Callable[..., Any]:
    def read(context: click.Context, parameter: click.Parameter, name: str) -> str:
        context.default_map = {**presets.get(name, {}), **(context.default_map or {})}
        return name

    return read


def field_options(settings: type[Any], *names: str) -> Callable[[F], F]:
    """Declare the options of some fields; each reaches the command's function by itself."""
    chosen = [(f, d) for f, d in declared_fields(settings) if f.name in names]

    def decorate(function: F) -> F:
        for declare in reversed(_declare(settings, chosen)):
            function = declare(function)
        return function

    return decorate


def _declare(
    settings: type[Any],
    chosen: Iterable[tuple[Field[Any], Declared]],
    *,
    unset: bool = False,
    callbacks: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
) -> list[Callable[[F], F]]:
    """Return the options of some fields."""
    types = get_type_hints(settings)
    options = []
    for f, d in chosen:
        names = [f"--{_parameter(f, d).replace('_', '-')}", *([d.short] if d.short else [])]
        said = _said(f, d, types[f.name], unset=unset)
        if f.name in callbacks:
            # A preset is read first, since it sets the defaults of the others.
            said |= {"callback": callbacks[f.name], "is_eager": f.name == "preset"}
        options.append(option(*names, **said))
    return options


def _parameter(one: Field[Any], declared: Declared) -> str:
    return (declared.option or one.name).replace("-", "_")


def _said(one: Field[Any], declared: Declared, annotation: Any, *, unset: bool) -> dict[str, Any]:
    """Return the arguments of click for one field."""
    text, kind = declared.help, _plain_type(annotation)
    unset = unset or declared.default_text is not None
    default = declared.default_text or _as_text(one.default)
    if unset and default is not None and default is not False:  # 0 is a default
        text += f"  [default: {default}]"
    said: dict[str, Any] = {"group": declared.group, "help": text, "provenance": declared.results}
    if declared.metavar:
        said["metavar"] = declared.metavar
    if kind is bool:
        return said | {"is_flag": True, "default": one.default}
    if one.default is MISSING and one.default_factory is MISSING:
        said["required"] = True
    else:
        said["default"] = None if unset else _as_text(one.default)
    said["type"] = _click_type(declared, kind)
    if get_origin(kind) is tuple:
        said["callback"] = _numbers_reader(get_args(kind), optional=kind is not annotation)
    return said


def _plain_type(annotation: Any) -> Any:
    """Return the type without None."""
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    optional = NoneType in get_args(annotation)
    return kinds[0] if optional else annotation


def _as_text(default: Any) -> Any:
    """Return a default as it could be given on the command line."""
    return ",".join(f"{n:g}" for n in default) if isinstance(default, tuple) else default


def _click_type(declared: Declared, kind: Any) -> Any:
    if declared.choices:
        return click.Choice(list(declared.choices))
    if kind is Path:
        return click.Path(file_okay=not declared.folder, path_type=Path)
    if kind in (int, float):
        ranged: Any = click.IntRange if kind is int else click.FloatRange
        lower = declared.least if declared.above is None else declared.above
        upper = declared.most if declared.below is None else declared.below
        if lower is None and upper is None:
            return kind
        return ranged(
            lower,
            upper,
            min_open=declared.above is not None,
            max_open=declared.below is not None,
        )
    return str


def _numbers_reader(kinds: tuple[Any, ...], *, optional: bool) -> Callable[..., Any]:
    """Return a callback that reads numbers with commas, or ``none`` if the list is optional."""
    count = None if Ellipsis in kinds else len(kinds)

    def read(
        context: click.Context, parameter: click.Parameter, value: str | None
    ) -> tuple[Any, ...] | None:
        if value is None or (optional and value == "none"):
            return None
        try:
            numbers = tuple(kinds[0](part) for part in value.split(","))
        except ValueError as e:
            raise click.BadParameter(f"{value!r} is not {_example(parameter, count)}") from e
        if (count and len(numbers) != count) or not all(map(math.isfinite, numbers)):
            raise click.BadParameter(f"{value!r} is not {_example(parameter, count)}")
        return numbers

    return read


def _example(parameter: click.Parameter, count: int | None) -> str:
    kind = "a list of numbers" if count is None else f"{count} numbers"
    return f"{kind}, such as {parameter.default or parameter.metavar}"
