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
import documented
import numpy as np
import pytest
import warm
from documented.workplace import fill
from PIL import Image
from support import RunProgram

from unsam_cli.cli import cli
from unsam_cli.cli.group import rearranged

ROOT = documented.ROOT


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words after `unsam` of every command in some lines of shell."""
    text = re.sub(r"(\\\n|(?<=\|)\s*\n)", " ", text)
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


@pytest.mark.parametrize("page", documented.PAGES, ids=lambda page: page.stem)
def test_every_command_line_is_understood(page: Path) -> None:
    root = click.Context(cli, info_name="unsam")
    shell = [block.code for block in documented.blocks(page, "sh")]
    named = list(command_lines("\n".join(documented.inline(page))))  # not always in full
    for words in [*command_lines("".join(shell)), *named]:
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
            if words in named and re.search("Missing parameter|requires an argument", str(e)):
                continue
            raise AssertionError(f"unsam {shlex.join(words)}: {e}") from e


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that the pages name."""
    folder = tmp_path_factory.mktemp("documented") / "workplace"
    folder.mkdir()

    def unsam(*words: str) -> None:
        program = warm.Program([*words, "-q"], cwd=folder)
        _, said = program.communicate(100)
        assert program.returncode == 0, (words, said)

    with pytest.MonkeyPatch.context() as patch:
        for name, value in documented.TINY.items():
            patch.setenv(name, value)
        fill(folder, unsam)
    return folder


@pytest.fixture
def place(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of it, which is the working folder."""
    shutil.copytree(workplace, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.mark.slow
@pytest.mark.parametrize("page", documented.pages("sh", run=True), ids=lambda page: page.stem)
def test_every_command_line_runs(page: Path, place: Path, program: RunProgram) -> None:
    code = "".join(b.code for b in documented.blocks(page, "sh") if not b.not_run)
    if "-o run" in code:
        shutil.rmtree("run")
    ran = program(documented.SHELL + code, cwd=place, ROOT=str(ROOT), **documented.TINY)
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("page", documented.pages("python", run=True), ids=lambda page: page.stem)
def test_every_block_of_python_runs(
    page: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "show", lambda picture: None)
    shutil.copy("photos/more/2.jpg", "photo.jpg")  # small
    names = {
        "rgb": np.array(Image.open(place / "photo.jpg")),
        "paths": ["photos/1.jpg", "photos/more/2.jpg"],
        "grid": np.random.default_rng(0).normal(size=(12, 16, 64)),
    }
    for block in documented.blocks(page, "python"):
        if not block.not_run:
            exec(compile(block.code, page.name, "exec"), names)


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
