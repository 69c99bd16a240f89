"""Ids of images that are text, such as UUIDs or file names, and the integers in their place."""

from __future__ import annotations

from typing import Any

from unsam_cli.io.values import as_whole

_FIRST = -(2**63) + 1  # below all ids that files have


class TextIds:
    """Numbers for ids that are text; integers stay as they are."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Whether there is any text."""
        return bool(self._numbers)

    def number(self, value: Any, key: str) -> int:
        """Return an integer for an id: itself, or a provisional one for a text.

        Whole numbers beyond those of int64 are texts, too.

        Raises
        ------
        ValueError
            The value is neither an integer nor text; the message calls it `key`.
        """
        found = as_whole(value)
        if found is not None:
            return found
        self.check(value, key)
        return self._numbers.setdefault(str(value), _FIRST + len(self._numbers))

    def check(self, value: Any, key: str) -> None:
        """Raise a ValueError if an id is neither an integer nor text."""
        long = isinstance(value, int) and not isinstance(value, bool)
        if as_whole(value) is None and not long and (not isinstance(value, str) or not value):
            raise ValueError(f"{key} must be a whole number or text, got {value!r:.60}")

    def final(self, numbers: list[int]) -> tuple[dict[int, int], dict[int, str]]:
        """Return 1, 2, 3... for the given numbers, and the ids that they stand for.

        Returns
        -------
        dict of int
            Final number by provisional one.
        dict of str
            Id in the file by final number.
        """
        finals = {number: place for place, number in enumerate(numbers, start=1)}
        texts = {number: text for text, number in self._numbers.items()}
        return finals, {final: texts.get(n, str(n)) for n, final in finals.items()}
