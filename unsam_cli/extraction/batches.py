"""Batches of equally large crops, across regions and images, for one network thread."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from unsam_cli.backbones import Backbone
from unsam_cli.extraction.prepare import ImageFeatures, PreparedImage

Finish = Callable[[PreparedImage, Sequence[NDArray[np.float32]]], ImageFeatures]


@dataclass
class Meter:
    """What a backbone has done so far.

    Attributes
    ----------
    crops : int
        Crops computed.
    seconds : float
        Time spent in the backbone, summed over threads.
    flops : float
        Operations of the matrix products; 0 for a backbone that does not count them.
    """

    crops: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def measure(self, backbone: Backbone, shapes: Sequence[tuple[int, ...]]) -> Iterator[None]:
        """Add the time of the block, which computes crops of these shapes (h, w, 3)."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        count = getattr(backbone, "flops", None)
        flops = sum(count(shape[0], shape[1]) for shape in shapes) if count else 0.0
        with self._lock:
            self.crops += len(shapes)
            self.seconds += seconds
            self.flops += flops

    def fraction_of(self, rate: float) -> float:
        """Return the operations per second as a fraction of a measured `rate`; 0 if none."""
        return self.flops / self.seconds / rate if self.seconds > 0 else 0.0


class _Job:
    """An image on its way through the network."""

    def __init__(self, prepared: Future[PreparedImage]) -> None:
        self.prepared = prepared
        self.done: Future[ImageFeatures] = Future()
        self.image: PreparedImage | None = None
        self.grids: list[NDArray[np.float32] | None] = []


@dataclass(frozen=True, slots=True)
class _Slot:
    """One crop of a job, waiting for its batch; `turn` is the number of its image."""

    job: _Job
    index: int
    turn: int


class Batcher:
    """The thread that runs the network.

    Crops of one size wait for each other until they fill a batch, but no longer than until `lag`
    images later. Both are counted in images and not in time, so the same images always make the
    same batches.

    Parameters
    ----------
    backbone : Backbone
    pool : Executor
        Runs `finish`.
    finish : callable
        Makes the result of an image from its grids.
    batch_size : int
        Crops in a full batch.
    meter : Meter
    """

    def __init__(
        self,
        backbone: Backbone,
        pool: Executor,
        finish: Finish,
        batch_size: int,
        meter: Meter,
    ) -> None:
        self.lag = batch_size
        self._backbone, self._pool, self._finish = backbone, pool, finish
        self._batch_size, self._meter = batch_size, meter
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: defaultdict[tuple[int, ...], list[_Slot]] = defaultdict(list)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)

    def __enter__(self) -> Batcher:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop after the batch that is being computed."""
        self._stopped.set()
        self._queue.put(None)
        self._thread.join()

    def submit(self, prepared: Future[PreparedImage]) -> Future[ImageFeatures]:
        """Take the next image; its result comes when its last batch is through."""
        job = _Job(prepared)
        self._queue.put(job)
        return job.done

    def flush(self) -> None:
        """Say that no image follows: what waits for its batch need not wait any longer."""
        self._queue.put(None)

    def _work(self) -> None:
        turn = 0
        while (job := self._queue.get()) is not None and not self._stopped.is_set():
            self._admit(job, turn)
            self._run_overdue(turn - self.lag)
            turn += 1
        if not self._stopped.is_set():
            self._run_overdue(turn)

    def _admit(self, job: _Job, turn: int) -> None:
        """Put the crops of an image with those that wait, and run the batches that are full."""
        try:
            job.image = job.prepared.result()
        except BaseException as error:
            job.done.set_exception(error)
            return
        crops = job.image.crops
        job.grids = [None] * len(crops)
        if not crops:
            self._complete(job)
        for index, crop in enumerate(crops):
            slots = self._waiting[crop.shape]
            slots.append(_Slot(job, index, turn))
            if len(slots) == self._batch_size:
                self._run(self._waiting.pop(crop.shape))

    def _run_overdue(self, turn: int) -> None:
        """Run what has waited since image `turn` or longer."""
        for shape in [s for s, slots in self._waiting.items() if slots[0].turn <= turn]:
            self._run(self._waiting.pop(shape))

    def _run(self, slots: list[_Slot]) -> None:
        try:
            crops = [slot.job.image.crops[slot.index] for slot in slots if slot.job.image]
            with self._meter.measure(self._backbone, [crop.shape for crop in crops]):
                grids = self._backbone.extract(np.stack(crops))
        except BaseException as error:
            for slot in slots:
                if not slot.job.done.done():
                    slot.job.done.set_exception(error)
            return
        for slot, grid in zip(slots, grids, strict=True):
            slot.job.grids[slot.index] = grid
            if all(g is not None for g in slot.job.grids):
                self._complete(slot.job)

    def _complete(self, job: _Job) -> None:
        """Have the result made of an image whose grids are all there."""

        def finish() -> None:
            try:
                assert job.image is not None
                result = self._finish(job.image, [g for g in job.grids if g is not None])
            except BaseException as error:
                job.done.set_exception(error)
            else:
                job.done.set_result(result)

        if not job.done.done():
            self._pool.submit(finish)
