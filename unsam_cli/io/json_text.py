"""Parse one record of JSON, as other programs write it."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

LONGEST = 2**27
"""Most bytes of JSON that are parsed at once. Only a malicious record would be longer."""

_CONSTANTS = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}
"""What words that are no JSON, but common, stand for."""


def parse_json(text: bytes) -> Any:
    """Parse a JSON text; Infinity is accepted, and NaN is null: pandas writes it so.

    Raises
    ------
    ValueError
        The text is not JSON, is longer than `LONGEST`, or contains invalid Unicode.
    """
    if len(text) > LONGEST:
        raise ValueError(f"a record of {len(text)} bytes exceeds the limit of {LONGEST}")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if not _is_utf8(text):
            raise ValueError("not UTF-8; save the file in UTF-8") from None
        try:
            value = json.loads(text, parse_constant=_CONSTANTS.get)
        except (ValueError, RecursionError):
            raise ValueError(str(error)) from None
        if b"\\ud" in text.lower():
            try:
                json.dumps(value, ensure_ascii=False).encode()
            except UnicodeEncodeError as half:
                found = half.object[half.start]
                raise ValueError(f"{found!r} is half of a character (a surrogate)") from None
        return value


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
