"""The interface between the trainer and what it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from torch import Tensor, nn

from unsam_cli.training.skipped import Skipped

S = TypeVar("S")


class Validated(NamedTuple):
    """Result of a validation.

    Attributes
    ----------
    values : dict of float
        Metrics by name; the first is the one to maximise.
    skipped : sequence of Skipped
        Images that could not be read, and annotations that were left out.
    """

    values: dict[str, float]
    skipped: Sequence[Skipped] = ()


class Batch(Protocol):
    """Several samples, joined by :meth:`Task.collate`."""

    def to(self, device: str) -> Batch:
        """Move all tensors to a device."""
        ...

    def pin_memory(self) -> Batch:
        """Copy large tensors to page-locked memory, from which a GPU copies while it computes.

        ``DataLoader`` calls a method of this name.
        """
        ...

    @property
    def names(self) -> list[str]:
        """Names of the images, for messages."""
        ...

    @property
    def skipped(self) -> Sequence[Skipped]:
        """Images that could not be read and were replaced, and annotations that were left out."""
        ...


class Task(Protocol[S]):
    """A model, its data and its losses.

    Results do not depend on the number of processes: randomness comes from the seed of a sample
    alone, and losses are sums over samples divided by totals over the whole step. Two processes
    with two images each make the same step as one process with four.
    """

    @property
    def module(self) -> nn.Module:
        """The trained module, with ``forward(batch, totals) -> {name: weighted loss}``.

        A step minimises the sum of all losses. `totals`, (K,) float32 on the device of the batch,
        is the sum of :meth:`amounts` over all batches of the step in all processes, divided by the
        number of processes, because gradients are averaged over processes. It may be 0. Every batch
        has the same losses. The global generator of torch is seeded before each call.
        """
        ...

    def __len__(self) -> int:
        """Return the number of samples in an epoch."""
        ...

    def sample(self, index: int, seed: int) -> S:
        """Read and augment a sample, in a worker; all randomness comes from `seed`."""
        ...

    def collate(self, samples: Sequence[S]) -> Batch:
        """Join samples into a batch, in a worker."""
        ...

    def begin(self, share: float) -> None:
        """Prepare `module` for the next step; `share` is the fraction of steps done, 0 to 1."""
        ...

    def amounts(self, batch: Batch) -> Tensor:
        """Return the divisors of the losses, (K,) float64, such as the number of masks."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return groups for AdamW: ``params``, ``lr_scale``, ``weight_decay``."""
        ...

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write a model and its history into an existing folder.

        `weights` is a state dict of `module`, on any device.
        """
        ...

    def validate(self, weights: Mapping[str, Tensor]) -> Validated:
        """Evaluate these weights on the validation set.

        This is called in the main process only. `module` is not changed.
        """
        ...
