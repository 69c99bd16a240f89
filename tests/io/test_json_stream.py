from __future__ import annotations

import pytest

from unsam_cli.io.json_text import parse_json


def test_half_of_a_character_is_named() -> None:
    """No output could hold it: JSON, HDF5 and file names are UTF-8."""
    with pytest.raises(ValueError, match=r"'\\ud800' is half of a character"):
        parse_json(rb'{"file_name": "\ud800.jpg"}')
    with pytest.raises(ValueError, match=r"'\\udfff' is half"):
        parse_json(rb'{"score": NaN, "note": ["\uDFFF"]}')


def test_a_character_in_two_halves_is_read() -> None:
    assert parse_json(rb'["\ud83d\ude00", NaN]')[0] == "\N{GRINNING FACE}"
    assert parse_json(rb'["\ud83d\ude00"]') == ["\N{GRINNING FACE}"]
