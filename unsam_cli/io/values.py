"""Numbers of JSON records that other programs wrote.

What means the same is read as the same: whole floats, and text of digits, are integers; null is a
missing value.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any


def whole(record: dict[str, Any], key: str, *, default: int | None = None) -> int:
    """Return an integer of a record, within 64 bits; ``3.0`` and ``"3"`` are 3, null is missing.

    Raises
    ------
    ValueError
        The value is something else, or missing without a default.
    """
    value = record.get(key)
    found = as_whole(default if value is None else value)
    if found is None:
        raise ValueError(f"{key} must be a whole number, got {value!r:.60}")
    return found


def whole_or(record: dict[str, Any], key: str, default: int) -> int:
    """Return an integer of a record, or `default` if it has none, see :func:`whole`."""
    found = as_whole(record.get(key))
    return default if found is None else found


def as_whole(value: Any) -> int | None:
    """Return the integer that a JSON value means, or None; text is not padded with zeros."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    elif isinstance(value, str) and len(value) < 20 and value.removeprefix("-").isdecimal():
        value = int(value) if str(int(value)) == value else None
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        return None
    return value


def number_or_none(record: dict[str, Any], key: str) -> float | None:
    """Return a finite number of a record, or None if it has none; ``"0.5"`` is 0.5.

    Raises
    ------
    ValueError
        The value is something else.
    """
    value = record.get(key)
    if value is None:
        return None
    number: Any = value
    if isinstance(value, str):
        with suppress(ValueError):
            number = float(value)
    if not is_number(number):
        raise ValueError(f"{key} must be a finite number, got {value!r:.60}")
    found: float = number
    return found


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)
