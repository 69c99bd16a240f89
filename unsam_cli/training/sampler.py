"""Which samples a step takes: a function of the seed and the step, not of the processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import numpy.typing as npt

from unsam_cli.run.seeds import image_seed

Pick = tuple[int, int]  # index of a sample, and its seed


def derive_seed(seed: int, *path: int) -> int:
    """Return the seed of what `path` leads to; paths of different lengths never meet.

    ``(epoch,)`` is the order of an epoch, ``(epoch, index)`` a sample, ``(step, rank, batch)``
    whatever a network draws in a forward pass.
    """
    return reduce(image_seed, path, seed)


@lru_cache(maxsize=2)  # a batch may straddle two epochs
def epoch_order(samples: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the order of the samples in an epoch, (samples,)."""
    return np.random.default_rng(derive_seed(seed, epoch)).permutation(samples)


@dataclass(frozen=True)
class Sampler:
    """An endless sequence of samples, epoch after epoch, cut into steps, processes and batches.

    Step t takes places t B to (t + 1) B of the sequence, B being the samples of a step. Rank r has
    the r-th of equal parts of them, and goes through it in batches.

    Parameters
    ----------
    samples : int
        Samples in an epoch.
    batch : int
        Samples of one batch of one process.
    accumulate : int
        Batches of one step of one process.
    rank, processes : int
        This process, of how many.
    seed : int
        Root of all random numbers.
    """

    samples: int
    batch: int
    accumulate: int = 1
    rank: int = 0
    processes: int = 1
    seed: int = 0

    def batches(self, first_step: int, last_step: int) -> Iterator[list[Pick]]:
        """Yield the batches of this process from `first_step` until before `last_step`."""
        share = self.batch * self.accumulate
        for step in range(first_step, last_step):
            start = (step * self.processes + self.rank) * share
            for place in range(start, start + share, self.batch):
                yield [self.pick(place + i) for i in range(self.batch)]

    def pick(self, place: int) -> Pick:
        """Return what is at a place of the endless sequence."""
        epoch, i = divmod(place, self.samples)
        index = int(epoch_order(self.samples, self.seed, epoch)[i])
        return index, derive_seed(self.seed, epoch, index)
