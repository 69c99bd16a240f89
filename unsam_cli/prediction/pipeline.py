"""Many images: threads decode them and draw masks, and one thread runs the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from operator import itemgetter
from typing import TypeVar

from unsam_cli.errors import UnsamError
from unsam_cli.found_masks import FoundMasks
from unsam_cli.io.pictures import pixels_of
from unsam_cli.models.predictions import Predictions
from unsam_cli.prediction.masks import Masks, draw, slices
from unsam_cli.prediction.predict import Input, Predictor
from unsam_cli.run.batching import Batcher, Network
from unsam_cli.run.items import OnDisk
from unsam_cli.run.resources import release_memory

T = TypeVar("T", bound=OnDisk)
R = TypeVar("R")


def predict_images(
    items: Iterable[T], predictor: Predictor, use: Callable[[T, FoundMasks], R], *, jobs: int
) -> Iterator[tuple[T, R | UnsamError]]:
    """Find the masks of images.

    Parameters
    ----------
    items : iterable
        Items with a `path`. Only a bounded number is read ahead.
    predictor : Predictor
        The network and how it is used.
    use : callable
        Turns an item and its masks into a result, in a worker thread.
    jobs : int
        Number of threads for all work outside the network.

    Yields
    ------
    item, result or UnsamError
        In the order of `items`; an error concerns this item only.

    Notes
    -----
    On a CPU images are computed one by one, since batches gain nothing there; so a result depends
    only on its image. On an accelerator inputs of the same size share batches, and the last bits of
    logits may depend on the batch size.

    The thread of the network also computes the logits, slice by slice, so that the memory that an
    image takes on the device is free before the next one. It waits while more than `jobs` slices
    are not drawn yet.
    """
    running: deque[Future[Masks]] = deque()

    def prepare(item: T) -> tuple[T, list[Input]]:
        return item, predictor.prepare(pixels_of(item.path))

    def compute(inputs: Sequence[Input]) -> list[list[Future[Masks]]]:
        predictions = predictor.forward(inputs)
        return [list(submit(predictions, i, one)) for i, one in enumerate(inputs)]

    def submit(predictions: Predictions, index: int, one: Input) -> Iterator[Future[Masks]]:
        for part in slices(predictions, index, predictor.settings):
            running.append(pool.submit(draw, part, one.view, one.size))
            yield running[-1]
            if len(running) > jobs:
                wait([running.popleft()])
                release_memory()  # buffers of all sizes fragment the memory: 0.6 GB is unused

    def finish(prepared: tuple[T, list[Input]], parts: Sequence[Sequence[Future[Masks]]]) -> R:
        # The parts were given to the pool before this, so they are running or done.
        item, inputs = prepared
        found = [[future.result() for future in part] for part in parts]
        return use(item, predictor.finish(inputs, found))

    network: Network[tuple[T, list[Input]], Input, list[Future[Masks]], R] = Network(
        itemgetter(1), lambda one: one.view.padded, compute, finish
    )
    batch_size = 1 if predictor.device.type == "cpu" else predictor.settings.batch_size
    with ThreadPoolExecutor(jobs, thread_name_prefix="predict") as pool:
        try:
            with Batcher(network, pool, batch_size) as batcher:
                yield from batcher.results(
                    items, lambda item: pool.submit(prepare, item), ahead=jobs + 1
                )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
