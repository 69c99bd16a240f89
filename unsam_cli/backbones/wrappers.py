"""Find a network inside a training checkpoint: its nesting, and the prefix of its names."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any

logger = logging.getLogger(__name__)

_DEPTH = 4
"""Maximum depth at which a network is looked for: a dict may contain itself."""
_WRAPPERS = ("teacher", "state_dict_ema", "model_ema", "state_dict", "model", "student")
"""Keys under which training checkpoints store the network, in order of preference."""
_PREFIXES = ("module.", "_orig_mod.", "backbone.")
"""Prefixes that are too common to be logged."""
_INSIDE = re.compile(r"(_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.")
_CHUNK = re.compile(r"(^|\.)blocks\.\d+\.(?=\d+\.)")  # FSDP of DINOv2 groups its blocks
_TRIED = 12  # names by which a prefix is found
_PREFERENCE = (("teacher", "target"), ("ema",))
_LAST = ("student", "momentum", "online", "predictor")

Place = tuple[str, str, dict[str, Any]]


def unwrap(
    content: Mapping[Any, Any],
    wanted: Collection[str] = (),
    source: object = "checkpoint",
    *,
    prefixes: Collection[str] = _PREFIXES,
) -> dict[str, Any]:
    """Return the network's state dict from a training checkpoint, without prefixes of wrappers.

    Parameters
    ----------
    content : mapping
        The checkpoint: nested dicts, whose innermost values are tensors.
    wanted : collection of str
        Names that the network has. If the usual wrappers do not lead to them, the nesting and the
        prefix that give most of them are taken, a teacher before a student, and logged.
    source : Path, str or None
        The file, for the log; None logs nothing.
    prefixes : collection of str
        Prefixes that published files have: they are not logged.
    """
    usual = _usual(content, prefixes)
    most = _score(usual, wanted)
    if not wanted or most == len(wanted):
        return usual
    found = list(_places(content, wanted))
    if not found:
        return usual

    def merit(place: Place) -> tuple[int, int]:
        return _score(place[2], wanted), -_rank(place[0] + place[1])

    key, prefix, state = max(found, key=merit)
    if _score(state, wanted) <= most:
        return usual
    where = " and ".join(
        f"{what} {text!r}" for what, text in (("key", key), ("prefix", prefix)) if text
    )
    if source is not None:
        said = where or "its names without wrappers"
        logger.warning("%s: took the network under %s", source, said)
    return state


def _usual(content: Mapping[Any, Any], usual: Collection[str]) -> dict[str, Any]:
    """Follow the wrappers that published checkpoints have."""
    for _ in range(_DEPTH):
        inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)]
        content = inner[0] if inner else content
    state = {str(key): value for key, value in content.items()}
    while prefixes := [p for p in usual if any(key.startswith(p) for key in state)]:
        prefix = prefixes[0]
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    return state


def _score(state: Mapping[str, Any], wanted: Collection[str]) -> int:
    return sum(name in state for name in wanted)


def _places(content: Mapping[Any, Any], wanted: Collection[str]) -> Iterator[Place]:
    """Yield key, prefix and state dict of each place that has some of the names."""
    for key, names in _dicts(content, ""):
        plain = {_plain(str(name)): value for name, value in names.items()}
        for prefix in dict.fromkeys(_prefixes(plain, wanted)):
            state = {k.removeprefix(prefix): v for k, v in plain.items() if k.startswith(prefix)}
            yield key, prefix, state


def _dicts(
    content: Mapping[Any, Any], key: str, depth: int = _DEPTH
) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    yield key, content
    for name, value in content.items() if depth else ():
        if isinstance(value, dict):
            yield from _dicts(value, f"{key}.{name}".lstrip("."), depth - 1)


def _plain(name: str) -> str:
    """Remove what wrappers put inside of a name."""
    return _CHUNK.sub(r"\1blocks.", _INSIDE.sub("", name))


def _prefixes(state: Mapping[str, Any], wanted: Collection[str]) -> Iterator[str]:
    tried = list(islice((name for name in wanted if "." in name), _TRIED))
    for name in state:
        for ending in tried:
            if name == ending or name.endswith(f".{ending}"):
                yield name.removesuffix(ending)


def _rank(place: str) -> int:
    """Return the order of preference of equal networks, the best first."""
    lower = place.lower()
    for rank, words in enumerate(_PREFERENCE):
        if any(word in lower for word in words):
            return rank
    return len(_PREFERENCE) + any(word in lower for word in _LAST)
