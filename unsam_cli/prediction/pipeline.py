"""Many images: threads decode them and draw masks, and one thread runs the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from operator import itemgetter
from typing import TypeVar

from unsam_cli.errors import UnsamError
from unsam_cli.found_masks import FoundMasks
from unsam_cli.io.windows import Windows, close, open_windows
from unsam_cli.models.predictions import Predictions
from unsam_cli.prediction.masks import Masks, draw, slices
from unsam_cli.prediction.predict import Input, Place, Predictor
from unsam_cli.prediction.reading import Unread, failed, unread
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

    Tiles of a large picture are read a few at a time, just before the network needs them.

    The thread of the network also computes the logits, slice by slice, so that the memory that an
    image takes on the device is free before the next one. It waits while more than `jobs` slices
    are not drawn yet.
    """
    running: deque[Future[Masks]] = deque()

    def prepare(item: T) -> tuple[T, Sequence[Place]]:
        picture = open_windows(item.path)
        size = picture.shape[0], picture.shape[1]
        views = predictor.views(size)
        if isinstance(picture, Windows) and len(views) > 1:
            return item, unread(picture, [Place(view, size) for view in views], pool, batch_size)
        inputs = predictor.prepare(picture)
        close(picture)
        return item, inputs

    def compute(places: Sequence[Place]) -> list[list[Future[Masks]]]:
        found = [one.read() if isinstance(one, Unread) else one for one in places]
        inputs = [one for one in found if isinstance(one, Input)]
        parts = iter(masks_of(inputs) if inputs else [])
        return [[failed(one)] if isinstance(one, UnsamError) else next(parts) for one in found]

    def masks_of(inputs: Sequence[Input]) -> list[list[Future[Masks]]]:
        predictions = predictor.forward(inputs)
        return [list(submit(predictions, i, one)) for i, one in enumerate(inputs)]

    def submit(predictions: Predictions, index: int, one: Input) -> Iterator[Future[Masks]]:
        for part in slices(predictions, index, predictor.settings):
            running.append(pool.submit(draw, part, one.view, one.size))
            yield running[-1]
            if len(running) > jobs:
                wait([running.popleft()])
                release_memory()  # buffers of all sizes fragment the memory: 0.6 GB is unused

    def finish(prepared: tuple[T, Sequence[Place]], parts: Sequence[Sequence[Future[Masks]]]) -> R:
        # The parts were given to the pool before this, so they are running or done.
        item, places = prepared
        found = [[future.result() for future in part] for part in parts]
        return use(item, predictor.finish(places, found))

    network: Network[tuple[T, Sequence[Place]], Place, list[Future[Masks]], R] = Network(
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
