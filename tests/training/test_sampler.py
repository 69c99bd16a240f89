"""The order of samples and the learning rate are functions of the step."""

from __future__ import annotations

import math

import pytest

from unsam_cli.training.sampler import Sampler, derive_seed
from unsam_cli.training.schedule import drop_steps, lr_factor
from unsam_cli.training.settings import PAPER_DROPS, TrainerSettings


def test_an_epoch_has_every_sample_once() -> None:
    picks = [p for batch in Sampler(7, 3, seed=5).batches(0, 7) for p in batch]
    epochs = [[index for index, _ in picks[i : i + 7]] for i in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len({seed for _, seed in picks}) == 21


def test_processes_and_accumulation_share_out_the_same_steps() -> None:
    whole = list(Sampler(10, 12, seed=1).batches(0, 5))
    for processes, accumulate in ((1, 2), (2, 1), (2, 3), (4, 1), (3, 2)):
        size = 12 // processes // accumulate
        parts = [
            list(Sampler(10, size, accumulate, rank, processes, seed=1).batches(0, 5))
            for rank in range(processes)
        ]
        for step in range(5):
            batches = slice(step * accumulate, (step + 1) * accumulate)
            joined = [pick for part in parts for batch in part[batches] for pick in batch]
            assert joined == whole[step]


def test_it_goes_on_anywhere() -> None:
    sampler = Sampler(5, 2, 2, rank=1, processes=2)
    assert list(sampler.batches(0, 9))[2 * 4 :] == list(sampler.batches(4, 9))


def test_seeds_of_different_things_differ() -> None:
    paths = [(1,), (2,), (1, 2), (2, 1), (1, 2, 0), (0, 1, 2)]
    assert len({derive_seed(0, *path) for path in paths}) == len(paths)
    assert derive_seed(0, 1, 2) != derive_seed(1, 1, 2)


def test_drops_of_the_paper() -> None:
    assert drop_steps(200_000, PAPER_DROPS) == [177_776, 192_592]
    settings = TrainerSettings()
    assert settings.total_steps(400_000) == 200_000
    factors = [lr_factor(s, 200_000, settings) for s in (0, 177_775, 177_776, 192_591, 192_592)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_drops_may_be_steps() -> None:
    settings = TrainerSettings(steps=10, drops=(4, 0.8), warmup=2)
    factors = [lr_factor(s, 10, settings) for s in range(10)]
    assert factors == pytest.approx([0.5, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_with_a_floor() -> None:
    settings = TrainerSettings(schedule="cosine", lr_floor=0.2, warmup=10)
    factors = [lr_factor(s, 110, settings) for s in range(111)]
    assert factors[4] == pytest.approx(0.5)
    assert factors[9] == factors[10] == 1
    assert factors[60] == pytest.approx(0.6)
    assert factors[35] == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)
    assert factors[110] == pytest.approx(0.2)
    assert factors[10:] == sorted(factors[10:], reverse=True)
