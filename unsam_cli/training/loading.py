"""Prefetch the batches of a task in worker processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from typing import Any, NoReturn

import torch
from torch.utils.data import DataLoader, Dataset

from unsam_cli.errors import UnsamError, machine_error
from unsam_cli.training.sampler import Pick
from unsam_cli.training.task import Batch, Task

_CAN_WAIT = hasattr(signal, "sigwaitinfo")  # not on macOS


class BatchDataset(Dataset[Any]):
    """The batches of a task, by what they consist of; an error takes the place of a batch."""

    def __init__(self, task: Task[Any]) -> None:
        self.task = task

    def __getitem__(self, picks: list[Pick]) -> Batch | UnsamError:
        # Returned, not raised: a DataLoader would wrap it into pages of traceback.
        try:
            return self.task.collate([self.task.sample(index, seed) for index, seed in picks])
        except Exception as e:
            # Now, for the cause of an error does not get to the trainer.
            error = machine_error(e) or e
            if not isinstance(error, UnsamError):
                raise
            return error


def load_batches(
    task: Task[Any], picks: Iterable[list[Pick]], *, jobs: int, pin: bool
) -> Iterator[Batch | UnsamError]:
    """Return an iterator over the batches of `picks`, in their order.

    Parameters
    ----------
    task : Task
        Reads and joins samples.
    picks : iterable of lists
        What each batch consists of.
    jobs : int
        Worker processes, started now; 0 = read in this one.
    pin : bool
        Call :meth:`Batch.pin_memory`: for a GPU.
    """
    loader: DataLoader[Any] = DataLoader(
        BatchDataset(task),
        batch_size=None,
        sampler=picks,
        collate_fn=_as_it_is,
        num_workers=jobs,
        pin_memory=pin,
        worker_init_fn=_begin_worker,
        # Nothing is pickled, and the weights, which workers have no use for, are not copied.
        multiprocessing_context="fork" if jobs else None,
        generator=torch.Generator(),  # else it draws from the global one
    )
    with _sigterm_blocked():
        return iter(loader)


@contextmanager
def _sigterm_blocked() -> Iterator[None]:
    """Let workers started meanwhile inherit a mask, for all threads they will ever have."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM} if _CAN_WAIT else ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_it_is(batch: Any) -> Any:
    return batch


def is_of_a_worker(error: RuntimeError) -> bool:
    """Say whether torch tells, wherever the trainer was, that a worker process has died."""
    return "DataLoader worker" in str(error)


def _begin_worker(worker: int) -> None:
    Queue._on_queue_feeder_error = staticmethod(_end_for_want)  # type: ignore[attr-defined]
    _leave_signals_to_the_parent()


def _end_for_want(error: Exception, batch: Any) -> NoReturn:
    """End a worker that cannot hand over a batch, for want of open files or shared memory.

    The queue would drop it, and the trainer would wait forever.
    """
    os._exit(1)


def _leave_signals_to_the_parent() -> None:
    """Ignore what is sent to all processes of a job: the trainer still wants its batches."""
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if _CAN_WAIT:
        # SIGTERM is also how a parent ends its workers: only the sender tells the difference.
        threading.Thread(target=_end_when_the_parent_says_so, daemon=True).start()


def _end_when_the_parent_says_so() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
