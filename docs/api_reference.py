"""What reference.md shows of the docstrings of the API; ``make docs`` runs it through cog."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import cog

from unsam_cli import api

_SECTION = re.compile(r"^(\w[\w ]*)\n-+\n", re.M)
_ENTRY = re.compile(r"^(\S.*)\n((?:    .*\n?|\n)*)", re.M)


class Plain(str):
    """The text of an annotation, which is shown without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def show() -> None:
    """Write the functions, then the classes."""
    found = {name: getattr(api, name) for name in api.__all__}
    for name in sorted(found, key=lambda name: (inspect.isclass(found[name]), name.lower())):
        cog.out("\n".join(described(name, found[name])) + "\n")


def described(name: str, thing: Any) -> Iterator[str]:
    """Yield the lines of a function, or of a class with what it offers."""
    yield f"## {name}\n"
    if not inspect.isclass(thing):
        yield from [f"```py\n{signature(f'unsam.{name}', thing)}\n```\n", markdown(thing)]
        return
    yield markdown(thing)
    for key, one in sorted(vars(thing).items()):
        function = getattr(one, "fget", None) or getattr(one, "func", None)
        function = function or getattr(one, "__func__", one)
        if key.startswith("_") or not inspect.isfunction(function):
            continue
        is_method = inspect.isfunction(one) or isinstance(one, classmethod)
        title = signature(key, getattr(thing, key)) if is_method else key
        yield f"### {key}\n\n```py\n{title}\n```\n\n{markdown(function)}"


def signature(name: str, function: Any) -> str:
    """Return how a function is called: names, types and defaults."""
    found = inspect.signature(function)
    kept = [p for p in found.parameters.values() if p.name != "self"]
    texts = [str(p.replace(annotation=Plain(p.annotation))) for p in kept]
    kinds = [p.kind for p in kept]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        texts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    result = "" if found.return_annotation is found.empty else f" -> {found.return_annotation}"
    line = f"{name}({', '.join(texts)}){result}"
    return line if len(line) < 90 else f"{name}(\n    " + ",\n    ".join(texts) + f",\n){result}"


def markdown(thing: Any) -> str:
    """Return a numpydoc docstring as Markdown."""
    text = inspect.getdoc(thing) or ""
    head, *rest = _SECTION.split(text + "\n")
    parts = [inline(head.strip())]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        parts.append(f"**{title}**")
        if title == "Examples":
            parts.append(f"```pycon\n{body.strip()}\n```")
        else:
            parts.append("\n".join(entries(body)))
    return "\n\n".join(parts) + "\n"


def entries(body: str) -> Iterator[str]:
    """Yield list items for the entries of a section."""
    for head, text in _ENTRY.findall(body):
        name, _, kind = head.partition(" : ")
        said = " ".join(inline(text).split())
        yield f"- `{name}`" + (f" ({inline(kind)})" if kind else "") + (f": {said}" if said else "")


def inline(text: str) -> str:
    """Replace the marks of reStructuredText."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text).replace("*predictions", r"\*predictions")
