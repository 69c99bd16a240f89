"""What the trainer needs to know of what it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

S = TypeVar("S")


class Batch(Protocol):
    """Samples together, as :meth:`Task.collate` makes them."""

    def to(self, device: str) -> Batch:
        """Move all tensors to a device."""
        ...

    def pin_memory(self) -> Batch:
        """Copy large tensors to page-locked memory, from which a GPU copies while it computes.

        ``DataLoader`` looks for a method of this name.
        """
        ...

    @property
    def names(self) -> list[str]:
        """Names of the images, for messages."""
        ...

    @property
    def skipped(self) -> Sequence[tuple[str, str]]:
        """Names of images that could not be read and were replaced, and why."""
        ...


class Task(Protocol[S]):
    """A model, its data and its losses.

    Nothing here depends on the number of processes: randomness comes from the seed of a sample
    alone, and losses are sums over samples divided by totals over the whole step. So two processes
    with two images each make the step that one process with four makes.
    """

    @property
    def module(self) -> nn.Module:
        """What is trained: ``forward(batch, totals) -> {name: weighted loss}``.

        The step minimises the sum of all losses. `totals` is the sum of :meth:`amounts` over all
        batches of the step, of all processes, divided by the number of processes (gradients are
        averaged over processes), (K,) float32 on the device of the batch; it may be 0. Every batch
        has the same losses. torch's global generator is seeded before each call.
        """
        ...

    def __len__(self) -> int:
        """Return the number of samples in an epoch."""
        ...

    def sample(self, index: int, seed: int) -> S:
        """Read and augment a sample, in a worker; `seed` is all that chance depends on."""
        ...

    def collate(self, samples: Sequence[S]) -> Batch:
        """Join samples into a batch, in a worker."""
        ...

    def begin(self, share: float) -> None:
        """Prepare `module` for the next step; `share` of all steps, from 0 to 1, are made."""
        ...

    def amounts(self, batch: Batch) -> Tensor:
        """Count what the losses are divided by, (K,) float64: of masks, of weights of queries."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return groups for AdamW: ``params``, ``lr_scale``, ``weight_decay``."""
        ...

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write a model that others can open into a folder that is there, with its history.

        `weights` is a state of `module`, of any device.
        """
        ...

    def validate(self, weights: Mapping[str, Tensor]) -> dict[str, float]:
        """Measure these weights on the validation set; the first value is the one to maximise.

        Called in the first process only. `module` is left as it was.
        """
        ...
