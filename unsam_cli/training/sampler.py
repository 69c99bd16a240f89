"""The samples of each step, which depend on seed and step only, not on the processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import numpy.typing as npt

from unsam_cli.run.seeds import image_seed

Pick = tuple[int, int]  # index of a sample, and its seed


def derive_seed(seed: int, *path: int) -> int:
    """Derive a seed from `seed` and the numbers `path`; paths of other lengths give other seeds.

    ``(epoch,)`` is used for the order of an epoch, ``(epoch, index)`` for a sample, and
    ``(step, rank, batch)`` for the random numbers of a forward pass.
    """
    return reduce(image_seed, path, seed)


@lru_cache(maxsize=2)  # a batch may straddle two epochs
def epoch_order(samples: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the order of the samples in an epoch: a permutation, (samples,) int64."""
    return np.random.default_rng(derive_seed(seed, epoch)).permutation(samples)


@dataclass(frozen=True)
class Sampler:
    """An endless sequence of samples, epoch after epoch, split into steps, processes and batches.

    With B samples per step, step t consists of positions t B to (t + 1) B - 1 of the sequence.
    These are split into equal parts, one per rank, and each part into batches.

    Parameters
    ----------
    samples : int
        Number of samples in an epoch.
    batch : int
        Number of samples per batch, in one process.
    accumulate : int
        Number of batches per step, in one process.
    rank, processes : int
        Rank of this process, from 0, and number of processes.
    seed : int
        Seed of the training.
    """

    samples: int
    batch: int
    accumulate: int = 1
    rank: int = 0
    processes: int = 1
    seed: int = 0

    def batches(self, first_step: int, last_step: int) -> Iterator[list[Pick]]:
        """Yield the batches of this process for the steps `first_step` to ``last_step - 1``."""
        share = self.batch * self.accumulate
        for step in range(first_step, last_step):
            start = (step * self.processes + self.rank) * share
            for place in range(start, start + share, self.batch):
                yield [self.pick(place + i) for i in range(self.batch)]

    def pick(self, place: int) -> Pick:
        """Return index and seed of the sample at a position of the endless sequence."""
        epoch, i = divmod(place, self.samples)
        index = int(epoch_order(self.samples, self.seed, epoch)[i])
        return index, derive_seed(self.seed, epoch, index)
