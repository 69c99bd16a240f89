"""Prefetch the batches of a task in worker processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
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
    """The batches of a task, indexed by lists of picks; errors are returned instead of raised."""

    def __init__(self, task: Task[Any]) -> None:
        self.task = task

    def __getitem__(self, picks: list[Pick]) -> Batch | UnsamError:
        # Returned, not raised: a DataLoader would wrap it into pages of traceback.
        try:
            return self.task.collate([self.task.sample(index, seed) for index, seed in picks])
        except Exception as e:
            # Checked here, because the cause of an error is lost on the way to the trainer.
            error = machine_error(e) or e
            if not isinstance(error, UnsamError):
                raise
            return error


def load_batches(
    task: Task[Any], picks: Iterable[list[Pick]], *, jobs: int, pin: bool
) -> Generator[Batch | UnsamError, None, None]:
    """Return a generator of the batches of `picks`, in their order.

    Parameters
    ----------
    task : Task
        Reads and joins samples.
    picks : iterable of lists
        Index and seed of every sample of each batch.
    jobs : int
        Number of worker processes, which are started at once; 0 reads in this process.
    pin : bool
        Whether to call :meth:`Batch.pin_memory`, for a GPU.

    Returns
    -------
    generator of Batch or UnsamError
        An error takes the place of a batch that cannot be read. To close it ends the workers.
    """
    loader: DataLoader[Any] = DataLoader(
        BatchDataset(task),
        batch_size=None,
        sampler=picks,
        collate_fn=_as_it_is,
        num_workers=jobs,
        pin_memory=pin,
        worker_init_fn=_begin_worker,
        # With fork nothing is pickled, and the weights, which workers do not use, are not copied.
        multiprocessing_context="fork" if jobs else None,
        generator=torch.Generator(),  # else it draws from the global one
    )
    with _sigterm_blocked():
        batches = iter(loader)
    return _received(batches) if jobs else (batch for batch in batches)


def _received(
    batches: Iterator[Batch | UnsamError],
) -> Generator[Batch | UnsamError, None, None]:
    """Yield what workers send, and an error if one is killed while its batch is received."""
    try:
        yield from batches
    except (ConnectionError, EOFError, FileNotFoundError):  # of the sockets between the processes
        yield WorkerKilledError()


@contextmanager
def _sigterm_blocked() -> Iterator[None]:
    """Block SIGTERM, so that workers started in this context inherit that in all threads."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM} if _CAN_WAIT else ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_it_is(batch: Any) -> Any:
    return batch


class WorkerKilledError(UnsamError):
    """A worker process died, most often because the kernel killed it."""

    def __init__(self) -> None:
        super().__init__(
            "a worker process was killed, perhaps because memory or open files (ulimit -n) ran "
            "out: use fewer --jobs, and continue from the last checkpoint with --resume"
        )


def is_of_a_worker(error: RuntimeError) -> bool:
    """Return whether an error of torch says that a worker process has died."""
    return "DataLoader worker" in str(error)


def _begin_worker(worker: int) -> None:
    Queue._on_queue_feeder_error = staticmethod(_end_for_want)  # type: ignore[attr-defined]
    _leave_signals_to_the_parent()


def _end_for_want(error: Exception, batch: Any) -> NoReturn:
    """End a worker that cannot send a batch because open files or shared memory ran out.

    The queue would drop the batch, and the trainer would wait forever.
    """
    os._exit(1)


def _leave_signals_to_the_parent() -> None:
    """Ignore signals sent to all processes of a job, because the trainer still needs batches."""
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if _CAN_WAIT:
        # A parent also ends its workers with SIGTERM, so the sender has to be checked.
        threading.Thread(target=_end_when_the_parent_says_so, daemon=True).start()


def _end_when_the_parent_says_so() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
