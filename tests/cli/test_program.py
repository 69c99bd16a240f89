"""What the program does before and around its commands: streams, signals, defaults."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support import Invoke, RunProgram


@pytest.fixture
def features(scenes: Path, invoke: Invoke, tmp_path: Path) -> Path:
    path = tmp_path / "f.h5"
    ran = invoke("extract-features", scenes / "1.png", "--size", 128, "-o", path)
    assert ran.exit_code == 0
    return path


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("unsam divide f.h5 -q >&-", 74, b"standard output: Bad file descriptor"),
        ("unsam --help >&-", 74, b"standard output: Bad file descriptor"),
        ("unsam divide f.h5 -q > /dev/full", 74, b"standard output: no space left"),
        ("unsam divide f.h5 -q -o /dev/full", 74, b"/dev/full: no space left"),
        ("unsam divide -q <&-", 66, b"standard input is empty"),
        ("unsam divide f.h5 -o d.json 2>&-", 0, b""),
        ("unsam divide f.h5 -o d.json <&- >&- 2>&-", 0, b""),
        ("unsam divide none.h5 >&- 2>&-", 66, b""),
    ],
)
def test_closed_and_full_streams(
    line: str, code: int, said: bytes, features: Path, program: RunProgram
) -> None:
    ran = program(line, cold=True)
    assert (ran.returncode, ran.stdout) == (code, b"")
    assert said in ran.stderr
    assert len(ran.stderr.splitlines()) == bool(said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_while_input_is_copied_leaves_nothing_behind(
    number: signal.Signals, tmp_path: Path
) -> None:
    run = [sys.executable, "-m", "unsam_cli", "divide", "-", "-o", str(tmp_path / "d.json")]
    process = subprocess.Popen(
        run,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": "", "TMPDIR": str(tmp_path)},
    )
    assert process.stdin is not None
    process.stdin.write(b"x" * 2**20)
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("unsam-stdin-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert f"stopped by {number.name}".encode() in said
    assert list(tmp_path.iterdir()) == []


def test_errors_of_options_are_json_lines_too(invoke: Invoke) -> None:
    for arguments in (["divide", "--log-json", "--tua", "3"], ["--log-json"]):
        ran = invoke(*arguments)
        assert ran.exit_code == 2
        assert json.loads(ran.stderr)["exit_code"] == 2


def test_environment_and_config_go_by_the_name_of_the_option(
    features: Path, invoke: Invoke, tmp_path: Path
) -> None:
    ran = invoke("divide", features, UNSAM_DIVIDE_FORMAT="ndjson")
    assert json.loads(ran.stdout.splitlines()[0])["id"] == 1
    config = tmp_path / "unsam.toml"
    config.write_text('[divide]\nformat = "results"\n')
    ran = invoke("divide", features, "--config", config)
    assert isinstance(json.loads(ran.stdout), list)


def test_a_config_that_is_missing_is_a_missing_input(features: Path, invoke: Invoke) -> None:
    ran = invoke("divide", features, "--config", "none.toml")
    assert ran.exit_code == 66
    assert "none.toml: no such file" in ran.stderr


def test_a_config_that_is_no_table_is_refused(
    features: Path, invoke: Invoke, tmp_path: Path
) -> None:
    config = tmp_path / "unsam.toml"
    config.write_text("divide = 3\n")
    ran = invoke("divide", features, "--config", config)
    assert ran.exit_code == 2
    assert "write [divide]" in ran.stderr


def test_messages_call_standard_input_by_its_name(scenes: Path, invoke: Invoke) -> None:
    for arguments in (["divide"], ["conquer"], ["view"], ["extract-features", scenes, "--regions"]):
        ran = invoke(*arguments, "-", stdin=b"garbage")
        assert ran.exit_code == 65, ran.stderr
        assert re.search("error: standard input: (not|is a text)", ran.stderr)
        assert tempfile.gettempdir() not in ran.stderr


@pytest.mark.parametrize("tau", ["nan", "1", "-1.5"])
def test_a_tau_that_is_no_cosine_is_a_matter_of_usage(
    tau: str, features: Path, invoke: Invoke
) -> None:
    ran = invoke("divide", features, "--tau", tau)
    assert ran.exit_code == 2
    assert tau.rstrip("0") in ran.stderr


def test_what_a_signal_left_half_made_is_thrown_away_silently() -> None:
    """A compiler that was interrupted has objects that cannot be taken apart."""
    program = """
import sys
from unsam_cli.cli import program as cli

class HalfMade:
    def __del__(self):
        raise AttributeError("never set")

cli.guarded = lambda run, request: HalfMade() and 0
sys.argv = ["unsam", "doctor"]
cli.main()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, b""), (signal.SIGTERM, 75, b"unsam: error: stopped by SIGTERM")],
)
def test_a_signal_that_an_import_turned_into_an_error_is_still_one(
    number: signal.Signals, code: int, said: bytes
) -> None:
    program = f"""
import os, sys
from unsam_cli.cli import program as cli

def get_command(*_):
    try:
        os.kill(os.getpid(), {int(number)})
    except BaseException as e:
        raise ModuleNotFoundError("half imported") from e

cli.UnsamGroup.get_command = get_command
sys.argv = ["unsam", "doctor"]
cli.main()
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert ran.returncode == code
    assert ran.stderr.startswith(said)
    assert bool(ran.stderr) == bool(said)


def test_what_cannot_be_written_does_not_replace_the_exit_code() -> None:
    code = """
import sys
from unsam_cli.cli.program import fail
sys.stdout.write("x")  # left in the buffer
fail("no", 74, OSError())
"""
    with open("/dev/full", "w") as full:
        ran = subprocess.run([sys.executable, "-c", code], stdout=full, check=False)
    assert ran.returncode == 74
