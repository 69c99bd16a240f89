"""The trainer in one process: what steps are, what is kept, what is refused."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter
from toy_training import STEP, ToyTask, contents, metrics_of, run, weights_of

from unsam_cli.errors import (
    CheckpointError,
    ImageFileError,
    InterruptError,
    OutputError,
    UnsamError,
    UsageError,
    machine_error,
)
from unsam_cli.run.provenance import Step
from unsam_cli.training.learner import Learner
from unsam_cli.training.loading import WorkerKilledError
from unsam_cli.training.sampler import Sampler
from unsam_cli.training.schedule import lr_factor
from unsam_cli.training.settings import TrainerSettings

pytestmark = pytest.mark.torch


def slow_reference(settings: TrainerSettings, clip: float) -> dict[str, torch.Tensor]:
    """Train step by step as in a textbook: one batch of all samples, AdamW written out."""
    task = ToyTask()
    names, parameters = zip(*task.module.named_parameters(), strict=True)
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    updates = [0] * len(parameters)
    sampler = Sampler(len(task), settings.batch_size, seed=settings.seed)
    total = settings.total_steps(len(task))
    for step, picks in enumerate(sampler.batches(0, total)):
        batch = task.collate([task.sample(*pick) for pick in picks])
        task.module.zero_grad()
        sum(task.module(batch, task.amounts(batch).float()).values()).backward()
        gradients = [p.grad for p in parameters]
        norm = sum(float(g.square().sum()) for g in gradients if g is not None) ** 0.5
        with torch.no_grad():
            for i, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
                if g is None:
                    continue
                g = g * min(1.0, clip / (norm + 1e-6))
                lr = settings.lr * lr_factor(step, total, settings) * (0.5 if p.ndim == 1 else 1.0)
                updates[i] += 1
                first[i] = 0.9 * first[i] + 0.1 * g
                second[i] = 0.999 * second[i] + 0.001 * g**2
                p *= 1 - lr * (0.0 if p.ndim == 1 else 0.05)
                mean = first[i] / (1 - 0.9 ** updates[i])
                root = (second[i] / (1 - 0.999 ** updates[i])).sqrt()
                p -= lr * mean / (root + 1e-8)
    return dict(zip(names, parameters, strict=True))


def test_steps_are_those_of_a_textbook(tmp_path: Path) -> None:
    more: dict[str, Any] = {"schedule": "cosine", "warmup": 3, "clip": 0.3}
    run(tmp_path, more)
    settings = TrainerSettings(steps=12, batch_size=4, lr=0.01, **more)
    expected = slow_reference(settings, clip=0.3)
    assert max(line["gradient_norm"] for line in metrics_of(tmp_path)) > 0.3
    for name, value in weights_of(tmp_path).items():
        torch.testing.assert_close(value, expected[name].detach())


def test_accumulated_batches_make_the_step_of_a_big_one(tmp_path: Path) -> None:
    run(tmp_path / "1", {})
    run(tmp_path / "2", {"accumulate": 2})
    run(tmp_path / "4", {"accumulate": 4})
    for parts in "24":
        for name, value in weights_of(tmp_path / parts).items():
            torch.testing.assert_close(value, weights_of(tmp_path / "1")[name])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_worker_that_is_killed_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UnsamError, match="fewer --jobs, and continue from the last checkpoint"):
        run(tmp_path, {"jobs": 1}, deadly_index=3)


def test_ctrl_c_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def update(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Learner, "update", update)
    with pytest.raises(InterruptError, match="stopped by Ctrl-C after step 0 of 12") as e:
        run(tmp_path, {"steps": 12})
    assert "--resume" in str(e.value)
    assert e.value.exit_code == 130


def test_a_worker_that_is_killed_while_a_checkpoint_is_written_is_no_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*_: object) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(UnsamError, match="a worker process was killed") as e:
        run(tmp_path, {})
    assert e.value.exit_code == 1


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), EOFError()])
def test_a_worker_that_is_killed_while_it_hands_over_a_batch_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def receive(_: object) -> None:
        raise error

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "_next_data", receive)
    with pytest.raises(WorkerKilledError, match="fewer --jobs") as e:
        run(tmp_path, {"jobs": 1})
    assert e.value.exit_code == 1


def test_workers_change_nothing(tmp_path: Path) -> None:
    for jobs in (0, 2):
        run(tmp_path / str(jobs), {"jobs": jobs, "accumulate": 2}, dropout=0.3)
    assert contents(tmp_path / "0") == contents(tmp_path / "2")


def test_the_seed_decides(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tmp_path / name, {"seed": seed}, dropout=0.3)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (
        contents(tmp_path / "a")["model.safetensors"]
        != contents(tmp_path / "c")["model.safetensors"]
    )


def test_epochs_are_steps(tmp_path: Path) -> None:
    run(tmp_path, {"steps": None, "epochs": 2.5})  # 2.5 x 11 samples / 4
    assert metrics_of(tmp_path)[-1]["step"] == 7


def test_bfloat16_is_near(tmp_path: Path) -> None:
    run(tmp_path / "32", {})
    run(tmp_path / "16", {"dtype": "bfloat16"})
    exact, near = metrics_of(tmp_path / "32"), metrics_of(tmp_path / "16")
    assert [m["loss"] for m in exact] != [m["loss"] for m in near]
    assert [m["loss"] for m in exact] == pytest.approx([m["loss"] for m in near], rel=0.05)
    assert all(w.dtype == torch.float32 for w in weights_of(tmp_path / "16").values())


def test_metrics_are_means_since_the_last_line(tmp_path: Path) -> None:
    run(tmp_path / "1", {"log_every": 1})
    run(tmp_path / "5", {"log_every": 5})
    single, means = metrics_of(tmp_path / "1"), metrics_of(tmp_path / "5")
    assert [m["step"] for m in means] == [5, 10, 12]
    assert set(single[0]) == {"step", "loss", "square", "size", "gradient_norm", "lr"}
    for line, part in zip(means, (single[:5], single[5:10], single[10:]), strict=True):
        assert line["loss"] == pytest.approx(sum(m["loss"] for m in part) / len(part))
        assert line["loss"] == pytest.approx(line["square"] + line["size"])


def test_moving_average(tmp_path: Path) -> None:
    """The average is a weighted sum of the weights after each step."""
    run(tmp_path / "ema", {"ema": 0.3, "checkpoint_every": 1, "keep": 99})
    checkpoints = sorted((tmp_path / "ema" / "checkpoints").iterdir())
    expected = {name: w.clone() for name, w in ToyTask().module.state_dict().items()}
    for n, checkpoint in enumerate(checkpoints, 1):
        decay = min(0.3, (1 + n) / (10 + n))
        for name, value in load_file(checkpoint / "model.safetensors").items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    published = load_file(tmp_path / "ema" / "model.safetensors")
    average = load_file(checkpoints[-1] / "average.safetensors")
    for name, value in expected.items():
        torch.testing.assert_close(average[name], value)
        assert torch.equal(average[name], published[name])
    run(tmp_path / "none", {})
    for name, value in weights_of(tmp_path / "none").items():
        assert torch.equal(value, load_file(checkpoints[-1] / "model.safetensors")[name])


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    scores = [1.0, 3.0, 2.0, 3.0, 0.0, 1.0]
    run(tmp_path, {"checkpoint_every": 3, "validate_every": 2, "keep": 2}, scores=scores)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000004", "step-00000010", "step-00000012"]
    best = load_file(tmp_path / "checkpoints" / "step-00000004" / "model.safetensors")
    published = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(published[name], value) for name, value in best.items())
    validated = {m["step"]: m["validation/score"] for m in metrics_of(tmp_path) if len(m) == 3}
    assert validated == {2: 1.0, 4: 3.0, 6: 2.0, 8: 3.0, 10: 0.0, 12: 1.0}


def test_without_validation_the_last_is_published(tmp_path: Path) -> None:
    assert run(tmp_path, {"keep": 1}) == 0
    published = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(published[k], v) for k, v in weights_of(tmp_path).items())
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoints", "config.json", "metrics.jsonl", "model.safetensors", "unsam.json",
    ]  # fmt: skip


def test_a_loss_that_is_no_number_names_the_images(tmp_path: Path) -> None:
    task = ToyTask()
    sampler = Sampler(len(task), 2, accumulate=2)
    batches = list(sampler.batches(0, 12))
    first = 3  # the second batch of step 2
    bad = batches[first][1][0]
    names = ", ".join(f"{index}.png" for index, _ in batches[first])
    with pytest.raises(
        UnsamError, match=rf"step {first // 2 + 1}: square is nan for {names};"
    ) as e:
        run(tmp_path, {"accumulate": 2, "checkpoint_every": 1}, nan_index=bad)
    assert e.value.exit_code == 1
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_a_gradient_that_is_no_number_names_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(torch.inf))
    with pytest.raises(UnsamError, match=r"step 1: gradient is inf for \d+\.png(, \d+\.png){3};"):
        run(tmp_path, {})


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_sample_that_cannot_be_read_is_one_line(tmp_path: Path, jobs: int) -> None:
    with pytest.raises(ImageFileError, match=r"^3\.png: cannot be decoded$"):
        run(tmp_path, {"jobs": jobs}, bad_index=3)


@pytest.mark.parametrize(
    ("settings", "step", "difference"),
    [
        ({"lr": 0.02}, STEP, "--lr was 0.01 and is now 0.02"),
        ({"batch_size": 2}, STEP, "--batch-size was 4 and is now 2"),
        ({}, Step("toy", {"width": 9}), "--width was 8 and is now 9"),
    ],
)
def test_other_settings_are_not_resumed(
    tmp_path: Path, settings: dict[str, Any], step: Step, difference: str
) -> None:
    run(tmp_path, {})
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=difference):
        run(tmp_path, settings, resume=True, step=step)
    assert contents(tmp_path) == before


def test_what_changes_no_weights_may_differ(tmp_path: Path) -> None:
    run(tmp_path, {})
    before = contents(tmp_path)
    more = {"jobs": 1, "accumulate": 2, "log_every": 7, "checkpoint_every": 9}
    assert run(tmp_path, more, resume=True) == 0
    assert contents(tmp_path) == before


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="--resume") as e:
        run(tmp_path, {})
    assert e.value.exit_code == 2
    with pytest.raises(UsageError, match="contains no training"):
        run(tmp_path, {}, resume=True)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(OutputError, match="does not exist"):
        run(tmp_path / "no" / "where", {})


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    run(tmp_path, {})
    (tmp_path / "checkpoints" / "step-00000012" / "state.pt").write_bytes(b"no")
    with pytest.raises(UnsamError, match="step-00000012: the checkpoint is damaged") as e:
        run(tmp_path, {}, resume=True)
    assert e.value.exit_code == 65


@pytest.mark.parametrize(
    "name", ["state.pt", "model.safetensors", "average.safetensors", "sums.json"]
)
def test_a_flipped_bit_of_a_checkpoint_is_found(name: str, tmp_path: Path) -> None:
    run(tmp_path, {"ema": 0.9})
    last = tmp_path / "checkpoints" / "step-00000012"
    path = last / name
    content = bytearray(path.read_bytes())
    for place in (3 * len(content) // 4, len(content) // 4):
        content[place] ^= 1
        path.write_bytes(content)
        content[place] ^= 1
        with pytest.raises(CheckpointError, match="step-00000012: the checkpoint is damaged"):
            run(tmp_path, {"ema": 0.9}, resume=True)
    path.unlink()
    with pytest.raises(
        CheckpointError, match="delete the folder to continue from the previous one"
    ):
        run(tmp_path, {"ema": 0.9}, resume=True)
    shutil.rmtree(last)
    assert run(tmp_path, {"ema": 0.9}, resume=True) == 0
    assert last.exists()


def test_too_many_open_files_are_not_told_as_a_damaged_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, {})

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("torch.load", refuse)
    with pytest.raises(CheckpointError) as e:
        run(tmp_path, {}, resume=True)
    assert (found := machine_error(e.value)) is not None
    assert found.exit_code == 74
    assert "step-00000012: too many open files" in str(found)


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_planted_in_the_folder_of_a_training_is_not_touched(
    kind: str, tmp_path: Path
) -> None:
    folder, victim = tmp_path / "run", tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").touch()
    run(folder, {"steps": 4, "checkpoint_every": 2})
    shutil.rmtree(folder / "checkpoints" / "step-00000004")
    for place in (folder / ".model.tmp", folder / "checkpoints" / ".step-00000004.tmp"):
        place.symlink_to(victim) if kind == "link" else os.mkfifo(place)
    assert run(folder, {"steps": 4, "checkpoint_every": 2}, resume=True) == 0
    assert [path.name for path in victim.iterdir()] == ["precious"]
    assert list(folder.rglob(".*")) == []


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe"])
def test_metrics_elsewhere_are_not_written(kind: str, tmp_path: Path) -> None:
    folder, victim = tmp_path / "run", tmp_path / "victim"
    run(folder, {"steps": 2})
    metrics = folder / "metrics.jsonl"
    metrics.unlink()
    victim.write_text("precious")
    if kind == "pipe":
        os.mkfifo(metrics)
    elif kind == "link":
        metrics.symlink_to(victim)
    else:
        metrics.hardlink_to(victim)
    with pytest.raises(OutputError, match=r"metrics\.jsonl .*; remove it"):
        run(folder, {"steps": 2}, resume=True)
    assert victim.read_text() == "precious"


def test_the_mode_of_a_model_is_kept(tmp_path: Path) -> None:
    run(tmp_path, {"steps": 4, "checkpoint_every": 2})
    shutil.rmtree(tmp_path / "checkpoints" / "step-00000004")
    (tmp_path / "model.safetensors").chmod(0o640)
    run(tmp_path, {"steps": 4, "checkpoint_every": 2}, resume=True)
    assert stat.S_IMODE((tmp_path / "model.safetensors").stat().st_mode) == 0o640


def test_numbers_that_cannot_be() -> None:
    for bad in (
        {"steps": 1, "epochs": 1},
        {"steps": 0},
        {"batch_size": 0},
        {"schedule": "linear"},
        {"dtype": "float16"},
        {"ema": 1.0},
        {"drops": (0.0,)},
        {"clip": float("nan")},
    ):
        with pytest.raises(UsageError):
            TrainerSettings(**bad)
    with pytest.raises(UsageError, match=r"16 .* is not divisible by 3 processes x 2"):
        TrainerSettings(accumulate=2).per_process(3)


def test_a_missing_tensorboard_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unsam_cli.training.metrics.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install tensorboard"):
        run(tmp_path / "run", {"tensorboard": True})
    assert not (tmp_path / "run").exists()


def test_tensorboard_has_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scalars: dict[str, list[tuple[int, float]]] = {}
    purged = []

    class Writer:
        def __init__(self, folder: Path, purge_step: int) -> None:
            assert folder == tmp_path / "tensorboard"
            purged.append(purge_step)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            scalars.setdefault(name, []).append((step, value))

        def close(self) -> None:
            purged.append(-1)

    monkeypatch.setattr("unsam_cli.training.metrics.find_spec", lambda name: name)
    stand_in = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    run(tmp_path, {"tensorboard": True, "validate_every": 6})
    run(tmp_path, {"tensorboard": True}, resume=True)
    assert purged == [1, -1, 13, -1]
    lines = metrics_of(tmp_path)
    for name in ("loss", "lr", "validation/score"):
        assert scalars[name] == [(m["step"], m[name]) for m in lines if name in m]


def test_lines_for_a_batch_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="unsam_cli.progress")
    monkeypatch.setattr("unsam_cli.training.progress.INTERVAL", 0.0)
    run(tmp_path, {"steps": 2, "validate_every": 2})
    first, last_but_one, last = caplog.messages
    assert first.startswith("toy: step 1/2, loss ")
    assert "learning rate 0.01," in first
    assert "images/s, peak memory" in first
    assert first.endswith("left")
    assert last_but_one.startswith("toy: step 2, validation: score ")
    assert last.startswith("toy: step 2/2, loss ")
