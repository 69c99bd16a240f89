"""The structure of the repository: what is promised about it, held by tests."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from unsam_cli.cli import cli
from unsam_cli.cli.command import Option

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "unsam_cli"
COMMANDS = cli.list_commands(click.Context(cli))
# From the ground up; a room may import what stands before it, and itself.
LAYERS = [
    {"errors", "callable_room"},
    {"jit", "settings"},
    {"rle"},
    {"io"},
    {"colour", "deformable", "sampling"},
    {"found_masks", "backbones", "run"},
    {"models", "sam", "refinement"},
    {"extraction", "divide", "conquer", "convert", "evaluation", "view", "doctor", "slurm"},
    {"prediction", "info", "compiling"},
    {"training", "api"},
    {"cli"},
    {"commands"},
    {"__main__"},
]


def room_of(path: Path) -> str:
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def modules_of(path: Path) -> set[str]:
    """Return the modules that a file imports, and what may be their members."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def imports_of(path: Path) -> set[str]:
    rooms = {n.split(".")[1] for n in modules_of(path) if n.startswith("unsam_cli.")}
    return rooms - {"__version__"}


def test_dependencies_point_downwards() -> None:
    height = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
    upwards = [
        f"{path.relative_to(ROOT)} imports {room}"
        for path in sorted(LIBRARY.rglob("*.py"))
        if room_of(path) != "__init__"
        for room in imports_of(path)
        if room != room_of(path) and height[room] >= height[room_of(path)]
    ]
    assert upwards == []


def test_no_files_import_each_other_in_a_circle() -> None:
    """Not even inside a room, and not within functions."""
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in LIBRARY.rglob("*.py")
        if path.name != "__init__.py"
    }
    imported = {name: modules_of(path) & names.keys() for name, path in names.items()}
    graphlib.TopologicalSorter(imported).prepare()  # a CycleError names the circle


def test_the_library_knows_nothing_of_the_command_line() -> None:
    for path in LIBRARY.rglob("*.py"):
        if room_of(path) not in ("cli", "commands"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names = {a.name.split(".")[0] for a in node.names}
                    module = getattr(node, "module", None) or ""
                    assert "click" not in names | {module.split(".")[0]}, path
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    assert node.func.id not in ("print", "exit"), path


def test_the_list_of_packages_is_complete() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        ".".join(init.parent.relative_to(ROOT).parts) for init in LIBRARY.rglob("__init__.py")
    } | {"unsam_cli.commands"}
    assert sorted(listed) == sorted(found)


LONG = {
    "backbones/folder_config.py": 264,
    "doctor.py": 269,
    "io/json_stream.py": 281,
    "refinement/_lattice_kernels.py": 252,
    "refinement/guided.py": 317,
    "rle/overlap.py": 283,
    "run/inputs.py": 262,
    "run/journal.py": 300,
    "training/trainer.py": 284,
}
"""Files of more than 250 lines, which may only shrink."""


def test_files_are_small() -> None:
    found = {
        str(path.relative_to(LIBRARY)): len(path.read_text(encoding="utf-8").splitlines())
        for path in LIBRARY.rglob("*.py")
    }
    grown = {name: n for name, n in found.items() if n > LONG.get(name, 250)}
    assert grown == {}, "split them where a split is natural; LONG gets no new entries"
    assert {name for name in LONG if found.get(name, 0) <= 250} == set(), "remove them from LONG"


def test_commands_are_thin() -> None:
    for path in (ROOT / "commands").glob("*.py"):
        source = path.read_text()
        assert len(source.splitlines()) < 130, path
        assert not re.search(r"^\s*(import|from) (numpy|torch|h5py)", source, re.MULTILINE), path


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from unsam_cli.cli import cli
heavy = {{"torch", "timm", "transformers", "numpy", "scipy", "h5py", "numba", "PIL", "rich"}}
for words in {[[name, "--help"] for name in COMMANDS]!r} + [["--help"]]:
    try:
        cli.main(words)
    except SystemExit as e:
        assert e.code == 0, e.code
    assert not heavy & set(sys.modules), (words, heavy & set(sys.modules))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr.decode()
    assert all(f"Usage: unsam {name} ".encode() in ran.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_explained(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.short_help
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert isinstance(parameter, Option), parameter
            assert parameter.help, f"{name} {parameter.opts}"
    assert (ROOT / "docs" / f"{name}.md").exists()
    assert f"docs/{name}.md" in (ROOT / "README.md").read_text()


def test_generated_help_is_current() -> None:
    pages = [str(p) for p in sorted((ROOT / "docs").glob("*.md"))]
    ran = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", *pages],
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout.decode() + "run make docs"


@pytest.mark.parametrize("name", COMMANDS)
def test_pages_show_the_help(name: str) -> None:
    assert f"Usage: unsam {name}" in (ROOT / "docs" / f"{name}.md").read_text()


def test_links_in_the_documentation_are_alive() -> None:
    dead = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                dead.append(f"{page.name}: {target}")
    assert dead == []
