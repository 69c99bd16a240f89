"""How two runs differ, in the words of the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unsam_cli.errors import UsageError

_RANKS = ("options", "trainer", "inputs", "", "version", "command")
"""Order in which differences are reported: those of options often cause the others."""
_INPUTS = {
    "source": "the source",
    "guide": "--images",
    "weights": "the weights",
    "checkpoint": "the checkpoint",
    "ground-truth": "the ground truth",
    "first": "the first file",
    "second": "the second file",
}
_WORDS = {
    ("options", "format"): "the format",
    ("trainer", "samples"): "the number of samples",
    ("trainer", "steps"): "the number of steps",
    ("", "images"): "the number of images",
}
"""Settings that are not options."""


class Difference(NamedTuple):
    """A setting that differs.

    Attributes
    ----------
    what : str
        Name of the setting, such as ``--size of extract-features``.
    before, now : str
        Values in the old and in the new run.
    """

    what: str
    before: str
    now: str


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Difference | None:
    """Return the most informative difference between the settings of two runs, or None.

    Parameters
    ----------
    old, new : mapping
        Plain JSON values. ``history`` may hold a list of steps. A step, or a mapping that is a step
        itself, has ``command``, ``version``, ``options`` and ``inputs``.
    """
    steps = _commands(old), _commands(new)
    if steps[0] != steps[1]:
        return Difference("the chain of commands", *(" | ".join(s) or "empty" for s in steps))
    before, now = _flat(old), _flat(new)
    differing = [k for k in before.keys() | now.keys() if before.get(k) != now.get(k)]
    if not differing:
        return None
    key = min(differing, key=_rank)
    texts = [_text(values.get(key)) for values in (before, now)]
    if texts[0] == texts[1]:  # a flag that is off, and one that another version lacks
        texts = [_text(values[key]) if key in values else "unknown" for values in (before, now)]
    return Difference(_name(key, steps[0]), *texts)


def _commands(settings: Mapping[str, Any]) -> list[str]:
    """Return the subcommands of the steps."""
    history = settings.get("history", [settings] if "command" in settings else [])
    if not isinstance(history, list):
        return []
    return [_command(step) for step in history]


def _command(step: Any) -> str:
    """Return ``divide`` of ``unsam divide --tau 0.15``."""
    line = step.get("command") if isinstance(step, dict) else None
    words = line.split() if isinstance(line, str) else []
    return next((word for word in words if word != "unsam"), "?")


def _flat(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the values inside `value` by their paths; lists of plain values stay whole."""
    if isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        value = {str(i): inner for i, inner in enumerate(value)}
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for key, inner in value.items() for k, v in _flat(inner, (*path, key)).items()}


def _rank(path: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Return a key that sorts differences by how informative they are."""
    kinds = [_RANKS.index(key) for key in path[-2:] if key in _RANKS[:3]]
    kinds += [_RANKS.index(path[-1])] if path and path[-1] in _RANKS[4:] else []
    return (kinds[0] if kinds else _RANKS.index("")), path


def _name(path: tuple[str, ...], commands: Sequence[str]) -> str:
    """Name a setting in the user's terms."""
    kind, name = ("", *path)[-2:]
    step = int(path[1]) if path[:1] == ("history",) and len(path) > 2 else 0
    of = f" of {commands[step]}" if len(commands) > 1 and step < len(commands) else ""
    if kind in ("options", "trainer"):
        return _WORDS.get((kind, name), f"--{name.replace('_', '-')}") + of
    if kind == "inputs":
        option, _, number = name.rpartition("-")
        content = f"file {number} of the {option}" if number.isdigit() else f"what --{name} holds"
        return _INPUTS.get(name, content) + of
    if name == "version":
        return f"the version of unsam{of}"
    return _WORDS.get((kind, name), ".".join(path).replace("_", " "))


def _text(value: Any) -> str:
    """Show a value in the form of the command line."""
    if value is None or value is False:
        return "not given"
    if value is True:
        return "given"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "empty"
    return value if isinstance(value, str) and shlex.quote(value) == value else f"{value!r}"


def refuse_other_settings(old: dict[str, Any], new: dict[str, Any], where: Path) -> None:
    """Raise a UsageError that names the first setting in which `old` and `new` differ."""
    difference = first_difference(old, new)
    if difference is not None:
        what, before, now = difference
        raise UsageError(
            f"{where}: cannot resume, {what} was {before} and is now {now}; "
            "use the same settings and inputs, or start over without --resume"
        )
