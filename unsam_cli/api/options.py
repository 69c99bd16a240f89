"""Options of the commands as keywords of functions."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any, TypeVar

from unsam_cli.errors import UsageError
from unsam_cli.run.provenance import Step, plain
from unsam_cli.settings import Settings, declared_fields

S = TypeVar("S", bound=Settings)


def settings_from(kind: type[S], options: S | Mapping[str, Any] | None, **more: Any) -> S:
    """Return settings: as they are, or made from options by name.

    Parameters
    ----------
    kind : type
        The class of the settings.
    options : object of the class, or mapping, optional
        Ready settings, or some of the fields by name; the others have their defaults.
    **more
        Further fields of settings that are not ready.

    Raises
    ------
    UsageError
        There is no such option, or a value is outside its range.
    """
    if isinstance(options, kind):
        return options
    assert options is None or isinstance(options, Mapping)
    given = {**more, **(options or {})}
    known = _names(kind)
    for name in given:
        if name not in known:
            raise UsageError(f"there is no option {name!r}; choose from {', '.join(known)}")
    made: S = getattr(kind, "of", kind)(**given)  # some have presets
    return made


def split(options: Mapping[str, Any], *kinds: type[Settings]) -> list[dict[str, Any]]:
    """Share options out to the classes that declare them.

    Raises
    ------
    UsageError
        None of the classes has an option of this name.
    """
    shares: list[dict[str, Any]] = [{} for _ in kinds]
    known = list(map(_names, kinds))
    for name, value in options.items():
        places = [i for i, names in enumerate(known) if name in names]
        if not places:
            every = ", ".join(dict.fromkeys(n for names in known for n in names))
            raise UsageError(f"there is no option {name!r}; choose from {every}")
        shares[places[0]][name] = value
    return shares


def step_from(
    command: str, *settings: Settings, inputs: Mapping[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    """Return what the history says of a function: the command that would have done the same.

    Parameters
    ----------
    command : str
        Its name.
    *settings : Settings
        Its options.
    inputs : mapping of str, optional
        Identities of networks.
    **more
        Options of no class, by name.
    """
    values: dict[str, Any] = {}
    for one in settings:
        for f, declared in declared_fields(one):
            value = getattr(one, f.name)
            if declared.results is True or (declared.results and value != f.default):
                values[(declared.option or f.name).replace("_", "-")] = plain(value)
    return Step(command, {**values, **more}, inputs or {}).to_json()


def _names(kind: type[Settings]) -> list[str]:
    return list(signature(kind).parameters)
