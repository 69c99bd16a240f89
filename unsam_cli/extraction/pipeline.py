"""Features of many images: decoding threads, batches for the network, results in order.

A built-in backbone works in the decoding threads themselves. A network has one thread of its own,
see :mod:`unsam_cli.run.batching`: decoding, cropping and resizing (of an image with many records,
only of the first) come before it, projecting and converting after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from unsam_cli.backbones import Backbone
from unsam_cli.errors import UnsamError
from unsam_cli.extraction.meter import Meter
from unsam_cli.extraction.plan import Regions
from unsam_cli.extraction.prepare import (
    Crop,
    PreparedImage,
    prepare_framed,
    prepare_image,
    stored_features,
)
from unsam_cli.extraction.settings import ExtractSettings
from unsam_cli.io.features import Region
from unsam_cli.run.batching import Batcher, Network
from unsam_cli.run.feature_sink import FeatureResult
from unsam_cli.run.items import OnDisk
from unsam_cli.run.parallel import ordered_map
from unsam_cli.run.spooled import SpooledRecords

T = TypeVar("T", bound=OnDisk)
Result = FeatureResult | UnsamError
Grid = NDArray[np.float32]
READY = 64
"""Crops of an image that are resized before the network asks for them."""


def extract(
    items: Iterable[T],
    backbone: Backbone,
    settings: ExtractSettings,
    *,
    batch_size: int = 8,
    jobs: int = 1,
    regions: Callable[[T], Regions | None] | None = None,
    records: Callable[[Sequence[Region]], SpooledRecords] = SpooledRecords,
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
    records : callable
        Makes what holds the records of an image; by default they are held in memory.
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

    def keep(kept: SpooledRecords, index: int, grid: Grid) -> None:
        kept.put(index, stored_features(grid, rank=settings.rank, dtype=settings.storage_dtype))

    def forward(crops: Sequence[Crop]) -> NDArray[np.float32]:
        pixels = np.stack([crop.pixels() for crop in crops])
        with meter.measure(backbone, [crop.shape for crop in crops]):
            return backbone.extract(pixels)

    def compute(item: T) -> FeatureResult:
        image = prepare(item)
        kept = records(image.plans)
        for index, crop in enumerate(image.crops):
            keep(kept, index, forward([crop])[0])
        return image.result(kept)

    def load(item: T) -> _Loaded:
        image = prepare(item)
        crops = [crop.resized() for crop in image.crops[:READY]] + image.crops[READY:]
        kept = records(image.plans)
        return _Loaded(image.result(kept), kept, crops)

    if backbone.threadsafe:
        yield from ordered_map(compute, items, jobs=jobs)
    else:
        yield from _in_batches(items, load, forward, keep, batch_size=batch_size, jobs=jobs)


@dataclass(frozen=True, slots=True)
class _Input:
    """A crop of an image, and where its features go."""

    crop: Crop
    kept: SpooledRecords
    index: int


@dataclass(frozen=True, slots=True)
class _Loaded:
    """An image for the network: its result, whose records are still empty, and its crops."""

    result: FeatureResult
    kept: SpooledRecords
    crops: list[Crop]

    def inputs(self) -> list[_Input]:
        return [_Input(crop, self.kept, i) for i, crop in enumerate(self.crops)]


def _in_batches(
    items: Iterable[T],
    load: Callable[[T], _Loaded],
    forward: Callable[[Sequence[Crop]], NDArray[np.float32]],
    keep: Callable[[SpooledRecords, int, Grid], None],
    *,
    batch_size: int,
    jobs: int,
) -> Iterator[tuple[T, Result]]:
    """Run a network in a thread of its own; `keep` runs in the pool, and stores what it returns."""
    running: deque[Future[None]] = deque()

    def compute(inputs: Sequence[_Input]) -> list[Future[None]]:
        grids = forward([one.crop for one in inputs])
        return [submit(one, grid) for one, grid in zip(inputs, grids, strict=True)]

    def submit(one: _Input, grid: Grid) -> Future[None]:
        running.append(pool.submit(keep, one.kept, one.index, grid))
        if len(running) > 2 * jobs + batch_size:  # the network is faster than what follows
            wait([running.popleft()])
        return running[-1]

    network = Network(_Loaded.inputs, lambda one: one.crop.shape, compute, _finish)
    with ThreadPoolExecutor(jobs, thread_name_prefix="extract") as pool:
        try:
            with Batcher(network, pool, batch_size) as batcher:
                yield from batcher.results(
                    items, lambda item: pool.submit(load, item), ahead=2 * jobs + 1
                )
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _finish(image: _Loaded, stored: Sequence[Future[None]]) -> FeatureResult:
    # They were given to the pool before this, so they are running or done.
    for future in stored:
        future.result()
    return image.result
