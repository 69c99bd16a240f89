"""Many images through CascadePSP: threads read and encode, and one thread runs the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from unsam_cli.errors import UnsamError
from unsam_cli.refinement.cascadepsp import CascadePsp, Crop, cut
from unsam_cli.refinement.masks import MaskTask, Refined, complete
from unsam_cli.run.batching import Batcher, Network

T = TypeVar("T")  # item
W = TypeVar("W")  # what is known of an item
R = TypeVar("R")  # result


@dataclass(frozen=True, eq=False)
class _Prepared(Generic[W]):
    """An image that was read: what is known of it, its masks, and the inputs of the network."""

    known: W
    task: MaskTask
    crops: list[Crop]


def refine_images(
    items: Iterable[T],
    refiner: CascadePsp,
    read: Callable[[T], tuple[W, MaskTask]],
    use: Callable[[W, Refined], R],
    *,
    jobs: int,
) -> Iterator[tuple[T, R | UnsamError]]:
    """Refine the masks of images; crops of equal size share batches, whichever image they are of.

    Parameters
    ----------
    items : iterable
        Images. Only a bounded number is read ahead.
    refiner : CascadePsp
        The network.
    read : callable
        Returns what is known of an item and the masks to refine, in a worker thread.
    use : callable
        Turns what is known and the refined masks into a result, in a worker thread.
    jobs : int
        Number of threads for all work outside the network.

    Yields
    ------
    item, result or UnsamError
        In the order of `items`; an error concerns this item only.
    """

    def prepare(item: T) -> _Prepared[W]:
        known, task = read(item)
        return _Prepared(known, task, refiner.crops(task.picture, task.work))

    def finish(prepared: _Prepared[W], levels: Sequence[NDArray[np.uint8]]) -> R:
        found = [cut(crop, one) for crop, one in zip(prepared.crops, levels, strict=True)]
        return use(prepared.known, complete(prepared.task, found, refiner.settings))

    network: Network[_Prepared[W], Crop, NDArray[np.uint8], R] = Network(
        attrgetter("crops"), attrgetter("padded"), refiner.forward, finish
    )
    with ThreadPoolExecutor(jobs, thread_name_prefix="refine") as pool:
        try:
            with Batcher(network, pool, refiner.batch_size) as batcher:
                yield from batcher.results(
                    items, lambda item: pool.submit(prepare, item), ahead=jobs + 1
                )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
