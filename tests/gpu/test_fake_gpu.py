"""The GPU that is not there refuses what a GPU refuses, by the rules of torch's fake tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fake_gpu import DeviceError, fake_gpu
from torch._subclasses.fake_tensor import FakeTensorMode

pytestmark = pytest.mark.torch


def gpu(*size: int) -> torch.Tensor:
    return torch.ones(size, device="cuda")


OPERATIONS: dict[str, Callable[[], Any]] = {
    "product": lambda: gpu(2, 3) @ torch.ones(3, 4),
    "sum": lambda: gpu(2) + torch.ones(2),
    "number": lambda: gpu(2) + torch.ones(()),
    "number of the GPU": lambda: torch.ones(2) + gpu(),
    "cat": lambda: torch.cat([gpu(2), torch.ones(2)]),
    "where": lambda: torch.where(gpu(2) > 0, gpu(2), torch.ones(2)),
    "two GPUs": lambda: gpu(2) + gpu(2).to("cuda:1"),
    "index": lambda: gpu(2)[torch.tensor([0])],
    "gather": lambda: gpu(2).gather(0, torch.tensor([0])),
    "linear": lambda: torch.nn.functional.linear(gpu(2, 3), torch.ones(4, 3)),
    "written": lambda: gpu(2).copy_(torch.ones(2)),
    "added": lambda: torch.ones(2).add_(gpu(2)),
    "moved": lambda: torch.ones(2).to(gpu(2)) + gpu(2),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("native", [True, False])
def test_rules_are_those_of_fake_tensors(name: str, native: bool) -> None:
    try:
        with FakeTensorMode():
            device: Any = OPERATIONS[name]().device
    except RuntimeError:
        device = None
    with fake_gpu(native=native):
        if device is None:
            with pytest.raises(DeviceError, match="several devices"):
                OPERATIONS[name]()
        else:
            assert OPERATIONS[name]().device == device


REFUSED: dict[str, Callable[[], Any]] = {
    "index of the GPU": lambda: torch.ones(2)[torch.tensor([0], device="cuda")],
    "numpy": lambda: gpu(2).numpy(),
    "asarray": lambda: np.asarray(gpu(2)),
    "not waited for": lambda: gpu(2).to("cpu", non_blocking=True),
    "generator": lambda: torch.rand(2, generator=torch.Generator(), device="cuda"),
    "permutation": lambda: torch.randperm(2, generator=torch.Generator(), device="cuda"),
    "generator of the GPU": lambda: torch.rand(2, generator=torch.Generator("cuda")),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("native", [True, False])
def test_what_fake_tensors_cannot_tell(name: str, native: bool) -> None:
    with fake_gpu(native=native), pytest.raises(DeviceError):
        REFUSED[name]()


def test_mps_has_no_float64() -> None:
    with fake_gpu("mps"), pytest.raises(DeviceError, match="float64"):
        torch.ones(2, dtype=torch.float64, device="mps")


def test_cuda_casts_what_it_casts() -> None:
    """In bfloat16 a CPU keeps softmax as it is, CUDA goes to float32."""
    kinds = {}
    for native in (True, False):
        with fake_gpu(native=native), torch.autocast("cuda", dtype=torch.bfloat16):
            kinds[native] = (gpu(2, 2) @ gpu(2, 2)).softmax(-1).dtype
    assert kinds == {True: torch.float32, False: torch.bfloat16}


def test_waits_are_counted() -> None:
    with fake_gpu() as device:
        numbers = gpu(2)
        numbers.sum().item()
        numbers.cpu()
        assert bool(numbers.any())
        assert numbers.tolist() == [1.0, 1.0]
        assert device.waits == 4


def test_nothing_is_left_behind() -> None:
    with fake_gpu():
        pass
    assert torch.Generator().device == torch.device("cpu")
    assert "fake_gpu" not in torch.Generator.__module__
    module = torch.nn.Linear(2, 2)
    weight = module.weight
    assert module.double().weight is weight
