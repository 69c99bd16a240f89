"""Features of many images: decoding threads, batches for the network, results in order.

A built-in backbone works in the decoding threads themselves. A network has one thread of its own,
see :mod:`unsam_cli.run.batching`: decoding, cropping and resizing come before it, projecting and
converting after it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from unsam_cli.backbones import Backbone
from unsam_cli.errors import UnsamError
from unsam_cli.extraction.meter import Meter
from unsam_cli.extraction.plan import Regions
from unsam_cli.extraction.prepare import (
    PreparedImage,
    finish_image,
    prepare_framed,
    prepare_image,
)
from unsam_cli.extraction.settings import ExtractSettings
from unsam_cli.run.batching import Batcher, Network
from unsam_cli.run.feature_sink import FeatureResult
from unsam_cli.run.items import OnDisk
from unsam_cli.run.parallel import ordered_map

T = TypeVar("T", bound=OnDisk)
Result = FeatureResult | UnsamError


def extract(
    items: Iterable[T],
    backbone: Backbone,
    settings: ExtractSettings,
    *,
    batch_size: int = 8,
    jobs: int = 1,
    regions: Callable[[T], Regions | None] | None = None,
    meter: Meter | None = None,
) -> Iterator[tuple[T, Result]]:
    """Extract the features of images.

    Parameters
    ----------
    items : iterable
        Items with a `path`. Only a bounded number is read ahead.
    backbone : Backbone
        The network. One with a `frame`, as that of SAM, sets the size of images itself, and
        `settings.plan` is not used.
    settings : ExtractSettings
        Records and their sizes, and what is stored.
    batch_size : int
        Number of crops of equal size per batch of the network.
    jobs : int
        Number of threads for all work outside the network.
    regions : callable, optional
        Returns the masks and scores of an item; called in a worker thread. Without it, or if it
        returns None, the only record is the whole image.
    meter : Meter, optional
        Counts the work of the network.

    Yields
    ------
    item, FeatureResult or UnsamError
        In the order of `items`; an error concerns this item only.

    Notes
    -----
    Batches are filled in the order of the items, whichever thread is ready first. So they depend on
    `batch_size`, but neither on `jobs` nor on timing.
    """
    meter = meter or Meter()

    def prepare(item: T) -> PreparedImage:
        if backbone.frame is not None:
            return prepare_framed(item.path, backbone.frame)
        return prepare_image(
            item.path,
            regions(item) if regions else None,
            patch_size=backbone.patch_size,
            settings=settings.plan,
        )

    finish = functools.partial(finish_image, rank=settings.rank, dtype=settings.storage_dtype)

    def grids(image: PreparedImage) -> Iterator[NDArray[np.float32]]:
        for crop in image.crops:
            with meter.measure(backbone, [crop.shape]):
                grid = backbone.extract(crop[np.newaxis])[0]
            yield grid

    def compute(item: T) -> FeatureResult:
        image = prepare(item)
        return finish(image, grids(image))

    def compute_batch(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        with meter.measure(backbone, [crop.shape for crop in crops]):
            return backbone.extract(np.stack(crops))

    if backbone.threadsafe:
        yield from ordered_map(compute, items, jobs=jobs)
        return
    network = Network(lambda image: image.crops, np.shape, compute_batch, finish)
    with ThreadPoolExecutor(jobs, thread_name_prefix="extract") as pool:
        try:
            with Batcher(network, pool, batch_size) as batcher:
                yield from batcher.results(
                    items, lambda item: pool.submit(prepare, item), ahead=2 * jobs + 1
                )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
