"""Find the records of a JSON file without parsing them.

A masks file may be larger than the memory. A small automaton passes once over its bytes, about as
fast as the file can be read, and finds the extent of every member of the top-level object and of
every element of the lists in it. A record is parsed only when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unsam_cli.io.json_text import parse_json
from unsam_cli.jit import kernel

ReadAt = Callable[[int, int], bytes]
"""``read_at(start, size)`` returns `size` bytes from `start` on, fewer at the end."""

_CHUNK = 2**20
_ROWS = 2**12

# What a byte is.
_OTHER, _SPACE, _QUOTE, _BACKSLASH, _COMMA, _COLON, _OPEN, _CLOSE = range(8)
_CLASS = np.full(256, _OTHER, dtype=np.int64)
for _kind, _bytes in {
    _SPACE: b" \t\n\v\f\r",
    _QUOTE: b'"',
    _BACKSLASH: b"\\",
    _COMMA: b",",
    _COLON: b":",
    _OPEN: b"[{",
    _CLOSE: b"]}",
}.items():
    _CLASS[list(_bytes)] = _kind
_BRACE, _BRACE_END = ord("{"), ord("}")

# Where the automaton is: before all, in the top-level list or object, in a list that is a member of
# the top-level object, in a file of one value per line, or past the end.
_ROOT, _LIST, _OBJECT, _MEMBER_LIST, _LINES, _DONE = range(6)
# What may come next.
_VALUE, _VALUE_OR_END, _COMMA_OR_END, _KEY, _KEY_OR_END, _COLON_NEXT = range(6)
# What a span is.
_KEY_SPAN, _VALUE_SPAN, _ELEMENT_SPAN = range(3)
_KINDS = ("key", "value", "element")
# How a value is skipped: not at all, as a string, after a backslash in one, as a word, in brackets.
_NO, _STRING, _ESCAPE, _WORD, _BRACKETS = range(5)
# Places in the state.
_PLACE, _NEXT, _SKIP, _DEPTH, _START, _IS_KEY = range(6)


class JsonRecord(NamedTuple):
    """A key or value of a JSON file.

    Attributes
    ----------
    kind : {'key', 'value', 'element'}
        A key of the top-level object, its value, or an element of a list that is its value.
        Elements of a top-level list and single lines are elements, too.
    key : str
        The key itself, or the key that the value belongs to; empty without a top-level object.
    start : int
        Position of its first byte in the file.
    text : bytes
        Its JSON text, of which only brackets and quotes have been checked.
    """

    kind: str
    key: str
    start: int
    text: bytes


def records(read_at: ReadAt, *, lines: bool = False) -> Iterator[JsonRecord]:
    """Yield the values one or two levels below the top of a JSON text, in order.

    Parameters
    ----------
    read_at : callable
        Reads a part of the file.
    lines : bool
        Whether the file holds one value per line instead of a single list or object.

    Raises
    ------
    ValueError
        The automaton finds that the text is not JSON.
    """
    state = np.zeros(6, dtype=np.int64)
    state[_PLACE] = _LINES if lines else _ROOT
    rows = np.empty((_ROWS, 3), dtype=np.int64)
    key, position = "", len(b"\xef\xbb\xbf") * (read_at(0, 3) == b"\xef\xbb\xbf")
    while chunk := read_at(position, _CHUNK):
        data, at = np.frombuffer(chunk + b"\n" * (len(chunk) < _CHUNK), dtype=np.uint8), 0
        while at < len(data):
            at, count, ok = _scan(data, at, position, state, rows)
            for kind, start, text in _texts(read_at, rows[:count].tolist()):
                if kind == _KEY_SPAN:
                    key = str(parse_json(text))
                yield JsonRecord(_KINDS[kind], key, start, text)
            if not ok:
                raise ValueError(f"unexpected {bytes(data[at : at + 1])!r} at byte {position + at}")
        position += len(chunk)
    if state[_SKIP] != _NO or state[_PLACE] not in (_DONE, _LINES):
        raise ValueError("the file ends in the middle of a record")


def _texts(read_at: ReadAt, spans: list[list[int]]) -> Iterator[tuple[int, int, bytes]]:
    """Yield kind, start and text of spans that lie close together, which are read at once."""
    if spans:
        first, last = spans[0][1], spans[-1][2]
        block = read_at(first, last - first)
        for kind, start, end in spans:
            yield kind, start, block[start - first : end - first]


@kernel()
def _scan(
    data: NDArray[np.uint8],
    at: int,
    position: int,
    state: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> tuple[int, int, bool]:
    """Advance through a chunk until it ends, `rows` are full, or a byte is invalid.

    `at` is the index in the chunk `data` to start from, `position` that of the chunk in the file.
    `state` is the state of the automaton, which is updated, and `rows` (n, 3) gets the spans.

    Returns
    -------
    at : int
        Index in the chunk to continue from, or that of the invalid byte.
    count : int
        Number of rows written: kind, start and end of a span.
    ok : bool
        False if a byte is invalid.
    """
    count = 0
    while at < len(data) and count < len(rows):
        if state[_SKIP] != _NO:
            at, ended = _skip(data, at, state)
            if ended:
                rows[count, 0] = _finish(state)
                rows[count, 1], rows[count, 2] = state[_START], position + at
                count += 1
        elif _step(data[at], position + at, state):
            at += 1
        else:
            return at, count, False
    return at, count, True


@kernel()
def _skip(data: NDArray[np.uint8], at: int, state: NDArray[np.int64]) -> tuple[int, bool]:
    """Advance inside a value; return the position and whether the value ended there."""
    skip, depth = state[_SKIP], state[_DEPTH]
    ended = False
    while at < len(data) and not ended:
        kind = _CLASS[data[at]]
        if skip == _STRING:
            if kind == _BACKSLASH:
                skip = _ESCAPE
            elif kind == _QUOTE:
                skip, ended = _BRACKETS, depth == 0
        elif skip == _ESCAPE:
            skip = _STRING
        elif skip == _WORD:
            if kind in (_SPACE, _COMMA, _CLOSE):
                state[_SKIP] = _NO
                return at, True
        elif kind == _QUOTE:
            skip = _STRING
        else:
            depth += (kind == _OPEN) - (kind == _CLOSE)
            ended = depth == 0
        at += 1
    state[_SKIP] = _NO if ended else skip
    state[_DEPTH] = depth
    return at, ended


@kernel()
def _finish(state: NDArray[np.int64]) -> int:
    """Return the kind of the value that just ended, and what may follow it."""
    if state[_IS_KEY]:
        state[_IS_KEY] = 0
        state[_NEXT] = _COLON_NEXT
        return _KEY_SPAN
    state[_NEXT] = _VALUE if state[_PLACE] == _LINES else _COMMA_OR_END
    return _VALUE_SPAN if state[_PLACE] == _OBJECT else _ELEMENT_SPAN


@kernel()
def _step(byte: int, position: int, state: NDArray[np.int64]) -> bool:
    """Process a byte between values; False if it is not allowed there."""
    place, following, kind = state[_PLACE], state[_NEXT], _CLASS[byte]
    if kind == _SPACE:
        return True
    if kind == _CLOSE:
        return _close(byte, state)
    if kind == _COMMA:
        state[_NEXT] = _KEY if place == _OBJECT else _VALUE
        return bool(following == _COMMA_OR_END)
    if kind == _COLON:
        state[_NEXT] = _VALUE
        return bool(following == _COLON_NEXT)
    if following in (_KEY, _KEY_OR_END):
        state[_IS_KEY] = 1
        _begin(kind, position, state)
        return bool(kind == _QUOTE)
    return _open(byte, position, state)


@kernel()
def _open(byte: int, position: int, state: NDArray[np.int64]) -> bool:
    """Process the first byte of a value."""
    place, kind = state[_PLACE], _CLASS[byte]
    if place == _DONE or state[_NEXT] not in (_VALUE, _VALUE_OR_END):
        return False
    if kind == _OPEN and byte != _BRACE and place in (_ROOT, _OBJECT):
        state[_PLACE] = _LIST if place == _ROOT else _MEMBER_LIST
        state[_NEXT] = _VALUE_OR_END
    elif place == _ROOT:
        state[_PLACE], state[_NEXT] = _OBJECT, _KEY_OR_END
        return bool(byte == _BRACE)
    else:
        _begin(kind, position, state)
    return True


@kernel()
def _close(byte: int, state: NDArray[np.int64]) -> bool:
    """Process a closing bracket between values."""
    place, following = state[_PLACE], state[_NEXT]
    state[_PLACE] = _OBJECT if place == _MEMBER_LIST else _DONE
    state[_NEXT] = _COMMA_OR_END if place == _MEMBER_LIST else _VALUE
    if place == _OBJECT:
        return byte == _BRACE_END and following in (_KEY_OR_END, _COMMA_OR_END)
    inside = place in (_LIST, _MEMBER_LIST)
    return inside and byte != _BRACE_END and following in (_VALUE_OR_END, _COMMA_OR_END)


@kernel()
def _begin(kind: int, position: int, state: NDArray[np.int64]) -> None:
    """Start to skip a value."""
    state[_START] = position
    state[_DEPTH] = kind == _OPEN
    state[_SKIP] = _BRACKETS if kind == _OPEN else _STRING if kind == _QUOTE else _WORD
