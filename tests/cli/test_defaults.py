"""Defaults from a file and from the environment: what means nothing is never passed over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import Invoke

CONFIGS = [
    ("[divid]\njobs = 1", "[divid] is not a command; did you mean divide?"),
    ("[extract_features]", "did you mean extract-features?"),
    ("jobs = 1", "'jobs' is outside a table"),
    ("divide = 3", "write [divide]"),
    ("[[divide]]\ntau = 3", "write [divide]"),
    ("[divide]\nmin_scor = 1", "did you mean min-score?"),
    ("[view]\ndepht = 2", "[view] has no option 'depht'; did you mean depth?"),
    ("[divide]\nconfig = 'x'", "has no option 'config'"),
    ("[divide]\nmax_masks = 1\nmax-masks = 2", "max-masks twice"),
    ("[divide]\njobs = 1.5", "[divide] jobs is 1.5; write a whole number"),
    ("[divide]\njobs = true", "[divide] jobs is true; write a whole number"),
    ("[divide]\ntau = [1, 2]", "[divide] tau is a list; write a number"),
    ("[divide]\ntau = 1979-05-27", "[divide] tau is a date or time"),
    ("[divide.tau]\nx = 1", "[divide] tau is a table"),
    ("[divide]\nresume = 1", "[divide] resume is 1; write true or false"),
    ("[divide]\nformat = true", "[divide] format is true; write text"),
    (
        "[conquer]\nthresholds = [0.5, 0.4]",
        "[conquer] thresholds is a list; write text in quotes, such as",
    ),
    (f"[divide]\nseed = {'9' * 50}", "[divide] seed is a number that is too large"),
    (f"[divide]\nseed = {'9' * 5000}", "not TOML"),
    (f"[divide]\nseed = 0x{'f' * 5000}", "[divide] seed is a number that is too large"),
    (f"[divide]\ntau = {'[' * 5000}", "not TOML (too deep)"),
    ("[divide]\ntau = 2", "c.toml: [divide] tau"),
    ("[divide]\nmin_score = nan", "c.toml: [divide] min-score"),
    ("[divide]\nmin_score = 'much'", "c.toml: [divide] min-score"),
]


@pytest.mark.parametrize(("text", "said"), CONFIGS)
def test_a_file_of_defaults_that_means_nothing_is_refused(
    text: str, said: str, tmp_path: Path, invoke: Invoke
) -> None:
    (tmp_path / "c.toml").write_text(text)
    ran = invoke("divide", "none.h5", "--config", tmp_path / "c.toml")
    assert ran.exit_code == 2, ran.stderr
    assert said in ran.stderr
    assert "c.toml" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbf[divide]\ntau = 0.3", b"", b"[divide]\nmin-score = 1", b"[train]\nlr = 0.1"],
)
def test_a_file_of_defaults_may_have_what_options_have(
    content: bytes, tmp_path: Path, invoke: Invoke
) -> None:
    (tmp_path / "c.toml").write_bytes(content)
    ran = invoke("divide", tmp_path / "none.h5", "--config", tmp_path / "c.toml")
    assert ran.exit_code == 66, ran.stderr
    assert "none.h5" in ran.stderr


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [(".", 65, "is a folder"), ("/dev/zero", 65, "is a device"), ("no.toml", 66, "no such file")],
)
def test_a_file_of_defaults_is_a_file(path: str, code: int, said: str, invoke: Invoke) -> None:
    ran = invoke("divide", "none.h5", "--config", path)
    assert (ran.exit_code, said in ran.stderr) == (code, True)


def test_a_pipe_may_have_defaults_but_nobody_waits_for_one(
    tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unsam_cli.io.files._PATIENCE", 0.1)
    os.mkfifo(tmp_path / "pipe")
    ran = invoke("divide", "none.h5", "--config", tmp_path / "pipe")
    assert (ran.exit_code, "without a writer" in ran.stderr) == (65, True)
    reader, writer = os.pipe()
    os.write(writer, b"[divid]")
    os.close(writer)
    ran = invoke("divide", "none.h5", "--config", f"/dev/fd/{reader}")
    os.close(reader)
    assert (ran.exit_code, "did you mean divide?" in ran.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        (
            "UNSAM_DIVIDE_TUA",
            2,
            "error: UNSAM_DIVIDE_TUA is not a setting; did you mean UNSAM_DIVIDE",
        ),
        (
            "UNSAM_DIVDE_TAU",
            66,
            "warning: UNSAM_DIVDE_TAU is not a setting; did you mean UNSAM_DIVID",
        ),
        (
            "UNSAM_VIEW_DEPHT",
            66,
            "warning: UNSAM_VIEW_DEPHT is not a setting; did you mean UNSAM_VIE",
        ),
        ("UNSAM_VERSION", 66, "warning: UNSAM_VERSION is not a setting; the variable is ignored"),
        ("UNSAM_DIVIDE_JOBS", 2, "not a valid integer range. (UNSAM_DIVIDE_JOBS)"),
    ],
)
def test_a_variable_that_means_nothing_is_told(
    name: str, code: int, said: str, invoke: Invoke
) -> None:
    ran = invoke("divide", "none.h5", **{name: "0.5"})
    assert ran.exit_code == code, ran.stderr
    assert said in ran.stderr


@pytest.mark.parametrize(
    "command", [("divide", "x"), ("evaluate", "a", "b"), ("extract-features",)]
)
@pytest.mark.parametrize("seed", ["-1", str(2**63), "9" * 5000])
def test_a_seed_has_a_range(command: tuple[str, ...], seed: str, invoke: Invoke) -> None:
    ran = invoke(*command, "--seed", seed)
    assert (ran.exit_code, "--seed" in ran.stderr) == (2, True)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_numbers_are_finite(value: str, invoke: Invoke) -> None:
    ran = invoke("divide", "x", "--min-score", value)
    assert (ran.exit_code, "finite" in ran.stderr) == (2, True)


def test_help_shows_the_usual_preset(invoke: Invoke) -> None:
    """What a training of this preset takes, not what the options would take without one."""
    shown = " ".join(invoke("train", "--help").stdout.split())
    assert "--queries INTEGER RANGE Number of predicted masks per image. [default: 300;" in shown
    assert "--epochs FLOAT RANGE Number of passes over the images. [default: 12;" in shown
    shown = " ".join(invoke("train", "--preset", "paper", "--help").stdout.split())
    assert "[default: 2000;" in shown
    shown = " ".join(invoke("finetune-sam", "--help").stdout.split())
    assert "Number of prompts per image. [default: 30;" in shown


def test_the_bare_program_prints_its_help_in_lines(invoke: Invoke) -> None:
    ran = invoke()
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[0] == "Usage: unsam [OPTIONS] COMMAND [ARGS]..."
    assert "\n  divide  " in ran.stderr


@pytest.mark.parametrize("setting", ["NUMBA_NUM_THREADS=0", "NUMBA_NUM_THREADS=abc", "NUMBA_OPT=7"])
def test_a_setting_of_numba_that_means_nothing_is_refused(setting: str) -> None:
    name, value = setting.split("=")
    code = "from unsam_cli.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "divide", "none.h5"],
        capture_output=True,
        env={**os.environ, name: value},
        check=False,
    )
    assert (ran.returncode, ran.stderr.count(b"\n")) == (2, 1), ran.stderr
    assert name.encode() in ran.stderr
