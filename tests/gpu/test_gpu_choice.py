"""Which device is taken, and how processes share several."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_gpu import fake_gpu

from unsam_cli.backbones import speed
from unsam_cli.backbones.accelerator import _has_gpu, accelerator
from unsam_cli.backbones.vit_device import resolve_device
from unsam_cli.errors import UsageError
from unsam_cli.training import distributed
from unsam_cli.training.distributed import Place, World, join_world

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("name", ["nvidia0", "nvidia3", "dxg", "kfd"])
def test_auto_sees_the_gpus_that_a_container_shows(name: str, tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    assert not _has_gpu(tmp_path)
    (tmp_path / name).touch()
    assert _has_gpu(tmp_path)


@pytest.mark.parametrize(("kind", "chosen"), [("cuda", "cuda"), ("mps", None)])
def test_auto_is_one_device_for_all(
    kind: str, chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks that extract, train and predict agree; the speed is that of this device."""
    monkeypatch.setattr(sys.modules[accelerator.__module__], "_has_gpu", lambda devices: True)
    measured = Calls()
    monkeypatch.setattr(speed, "torch_product", lambda *way: partial(measured, way[2]))
    monkeypatch.setattr(speed, "_numpy_product", lambda side: partial(measured, "cpu"))
    with fake_gpu(kind):
        assert accelerator("auto") == chosen
        assert str(resolve_device("auto")) == (chosen or "cpu")
        speed.matmul_rate(device="auto", seconds=0)
        monkeypatch.delitem(sys.modules, "torch")  # as if nobody had imported it
        speed.matmul_rate(device="auto", seconds=0)
    assert set(measured) == {(chosen or "cpu",)}


def test_named_devices() -> None:
    with fake_gpu():
        assert [accelerator(n) for n in ("cpu", "cuda", "cuda:1")] == [None, "cuda", "cuda:1"]
        with pytest.raises(UsageError, match="sees 2 CUDA devices"):
            accelerator("cuda:2")
    with fake_gpu("mps"):
        assert accelerator("mps") == "mps"


class Calls(list[Any]):
    """What was asked of torch."""

    def __call__(self, *arguments: Any) -> int:
        self.append(arguments)
        return len(self)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Be the second of two processes; return how they met."""
    met = Calls()
    place = Place(rank=1, size=2, local_rank=1)
    monkeypatch.setattr(distributed, "find_place", lambda environment: place)
    monkeypatch.setattr(distributed, "meet", lambda *place, backend: met(backend))
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    return met


def test_each_process_takes_its_gpu(two: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu():
        chosen = Calls()
        monkeypatch.setattr(torch.cuda, "set_device", chosen)
        with join_world("cuda") as world:
            assert world.device == "cuda:1"
    assert chosen == [("cuda:1",)]
    assert two == [("cpu:gloo,cuda:nccl",)]


def test_processes_do_not_share_a_device(two: Calls) -> None:
    with (
        fake_gpu(),
        pytest.raises(UsageError, match="2 processes cannot train"),
        join_world("cuda:1"),
    ):
        pass
    with (
        fake_gpu("mps"),
        pytest.raises(UsageError, match="2 processes cannot train"),
        join_world("mps"),
    ):
        pass
    with join_world("cpu") as world:
        assert world.device == "cpu"
    assert two == [("gloo",)]


def test_memory_is_that_of_the_device_of_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of the first one, where nothing is."""
    asked = Calls()
    with fake_gpu():
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", asked)
        with join_world("cuda:1") as world:
            assert world.peak_memory() == 1
    assert asked == [("cuda:1",)]
    assert World(Place(), "cpu").peak_memory() > 1
