"""What the documentation tells users to type, and what it quotes, exists."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from unsam_cli.cli import cli
from unsam_cli.cli.group import rearranged

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "```sh" in page.read_text(encoding="utf-8")]


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the words after `unsam` of every command in the shell blocks of a page."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    for block in blocks:
        text = re.sub(r"(\\\n|(?<=\|)\s*\n)", " ", block)
        for line in text.splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if word.startswith("#"):
                    break
                if not re.fullmatch(r"[|&;()]+", word):
                    words.append(word)
                    continue
                yield from _after_unsam(words)
                words = []
            yield from _after_unsam(words)


def _after_unsam(words: list[str]) -> Iterator[list[str]]:
    if "unsam" not in words:
        return
    words = words[words.index("unsam") + 1 :]
    kept = []
    for i, word in enumerate(words):
        redirected = word in (">", "<", ">>") or (i and words[i - 1] in (">", "<", ">>"))
        if not redirected:
            kept.append(word)
    yield kept


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_is_understood(page: Path) -> None:
    root = click.Context(cli, info_name="unsam")
    for words in command_lines(page):
        if not words or {"...", "FORMAT"} & {*words} or words[0].startswith(("-", "$")):
            continue
        name, *rest = rearranged(words)
        command = cli.get_command(root, name)
        assert command is not None, words
        try:
            command.make_context(name, list(rest), parent=root, resilient_parsing=False)
        except click.exceptions.Exit:
            pass  # --help
        except Exception as e:
            if "does not exist" in str(e):  # a file of the user
                continue
            raise AssertionError(f"unsam {shlex.join(words)}: {e}") from e


def test_messages_of_the_troubleshooting_page_exist() -> None:
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "unsam_cli").rglob("*.py"))
    text = re.sub(r'"\s*\n\s*f?"', "", source)
    quoted = re.findall(r"^### `(.*)`$", (ROOT / "docs" / "faq.md").read_text(), re.M)
    assert len(quoted) > 8
    assert [part for q in quoted for part in q.split("…") if part.strip() not in text] == []


def test_files_and_functions_that_developers_are_sent_to_exist() -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    text = design + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = {word for q in re.findall(r"`([^`\n]+)`", text) for word in q.split()}
    files = {word for word in named if re.fullmatch(r"[a-z_/0-9]+\.py", word)} - {"stage.py"}
    assert len(files) > 50
    places = (ROOT, ROOT / "unsam_cli", ROOT / "tests")
    assert [f for f in sorted(files) if not any((place / f).exists() for place in places)] == []
    walk = design.partition("## One image through the pipe")[2].partition("\n## ")[0]
    functions = set(re.findall(r"`(?:[A-Za-z]\w*\.)?([a-z_]\w*)`", walk)) - {"py", "parent_id"}
    assert len(functions) > 30
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "unsam_cli").rglob("*.py"))
    defined = set(re.findall(r"(?:def|class) (\w+)", source))
    assert functions - defined - {"cascadepsp"} == set()


def program(name: str) -> Any:
    """Import a program of docs/."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_it_gives() -> None:
    notebook = program("notebook")
    stored = json.loads(notebook.PATH.read_text(encoding="utf-8"))
    ran, names = notebook.run()
    assert len(names["masks"]) == 50

    def texts(book: dict[str, Any]) -> list[Any]:
        return [o["data"]["text/plain"] for c in book["cells"] for o in c.get("outputs", [])]

    assert texts(ran) == texts(stored)
    assert len(texts(stored)) == 7


def test_man_pages_come_from_the_help(tmp_path: Path) -> None:
    pages = {page.name: page for page in program("man").write(tmp_path)}
    names = cli.list_commands(click.Context(cli))
    assert sorted(pages) == sorted(["unsam.1", *(f"unsam-{name}.1" for name in names)])
    divide = pages["unsam-divide.1"].read_text(encoding="utf-8")
    assert "\n.B \\-\\-tau FLOAT RANGE\nConnect patches" in divide
    if groff := shutil.which("groff"):
        ran = subprocess.run(
            [groff, "-man", "-Tutf8", "-ww", *pages.values()], capture_output=True, check=True
        )
        assert ran.stderr == b""
