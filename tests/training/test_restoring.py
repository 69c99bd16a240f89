"""Checkpoints of a training that are whole files, but not of this training."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toy_training import last_checkpoint, run

from unsam_cli.errors import CheckpointError, UnsamError
from unsam_cli.training.checkpoint_files import Checkpoint, write_checkpoint

pytestmark = pytest.mark.torch

SETTINGS: dict[str, Any] = {"steps": 6, "checkpoint_every": 3, "ema": 0.9, "validate_every": 3}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("restoring") / "run"
    assert run(folder, SETTINGS) == 0
    shutil.rmtree(last_checkpoint(folder))  # so that there is something to do
    return folder


def read(folder: Path) -> Checkpoint:
    state = torch.load(folder / "state.pt", weights_only=True)
    weights, average = (load_file(folder / f"{n}.safetensors") for n in ("model", "average"))
    return Checkpoint(state, weights, average)


def resume_with(trained: Path, target: Path, change: Callable[[Checkpoint], object]) -> int:
    """Resume a copy, whose last checkpoint was changed and has the right checksums."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(trained, target)
    folder = last_checkpoint(target)
    checkpoint = read(folder)
    change(checkpoint)
    shutil.rmtree(folder)
    folder.mkdir()
    write_checkpoint(folder, checkpoint)
    return run(target, SETTINGS, resume=True)


def first_moments(checkpoint: Checkpoint) -> dict[str, Any]:
    moments: dict[str, Any] = checkpoint.state["optimizer"]["state"][0]
    return moments


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.state.pop("optimizer"), "state.pt: it has no optimizer"),
        (lambda c: c.state.pop("settings"), "state.pt has no settings"),
        (lambda c: c.state.update(step="3"), "its step is '3'"),
        (lambda c: c.state.update(best=[1]), r"its best validation is \[1\]"),
        (lambda c: c.state.update(mean={"sums": {}}), "no mean of the last losses"),
        (lambda c: c.state.update(skipped=[("1.png",)]), "its list of skipped images"),
        (lambda c: c.state["optimizer"]["param_groups"].pop(), "other groups of parameters"),
        (lambda c: first_moments(c).update(exp_avg=torch.zeros(3, 3)), "has another shape"),
        (lambda c: first_moments(c).update(exp_avg=None), "exp_avg of parameter 0 is a NoneType"),
        (lambda c: first_moments(c)["exp_avg_sq"].fill_(torch.nan), "exp_avg_sq.*not finite|not"),
        (
            lambda c: c.weights["extra.bias"].fill_(torch.inf),
            "of extra.bias are infinite",
        ),
        (lambda c: c.average.pop("extra.bias"), "average.safetensors: .*1 missing"),
        (lambda c: c.weights.update({"extra.bias": torch.ones(1).int()}), "extra.bias is int32"),
    ],
)
def test_what_cannot_be_gone_on_from_is_named(
    trained: Path, tmp_path: Path, change: Callable[[Checkpoint], object], text: str
) -> None:
    with pytest.raises(CheckpointError, match=text) as caught:
        resume_with(trained, tmp_path / "run", change)
    assert str(last_checkpoint(tmp_path / "run")) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_an_earlier_version_lists_images_only(
    trained: Path, tmp_path: Path
) -> None:
    old = {"1.png": "damaged"}
    assert resume_with(trained, tmp_path / "run", lambda c: c.state.update(skipped=old)) == 3
    [line] = (tmp_path / "run.errors.jsonl").read_text().splitlines()
    assert '"1.png"' in line


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at and at[0] == "settings" and len(at) > 1:  # compared as they are
        return
    if at:
        yield at
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from places(inner, (*at, key))


def test_nothing_in_a_state_gives_an_internal_error(trained: Path, tmp_path: Path) -> None:
    wrong: list[Any] = [None, [], "x", -(10**30), {}, torch.ones(2, dtype=torch.bool), float("nan")]
    for number, place in enumerate(places(read(last_checkpoint(trained)).state)):
        put = wrong[number % len(wrong)]

        def change(checkpoint: Checkpoint, at: Any = place, put: object = put) -> None:
            inner: Any = checkpoint.state
            for key in at[:-1]:
                inner = inner[key]
            inner[at[-1]] = put

        text = ""
        try:
            resume_with(trained, tmp_path / "run", change)
        except UnsamError as error:
            text = str(error)
        assert "\n" not in text
