"""Wait for the other processes of a training, without ignoring signals and without silence."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from unsam_cli.errors import UnsamError

logger = logging.getLogger(__name__)

R = TypeVar("R")
MEETING = timedelta(minutes=10)  # how long to wait for processes that start later
# How long others wait while the first process validates. Processes that die are noticed at once.
VALIDATION = timedelta(hours=6)
SILENCE = 10.0  # seconds after which a process says whom it waits for
_PATIENCE = 0.2  # seconds between looks at signals


def meet(rank: int, size: int, address: str, port: int, backend: str) -> None:
    """Connect process `rank` of `size` to the others, which meet at a host and port.

    Raises
    ------
    UnsamError
        The other processes cannot be reached.
    """
    where = f"{address}, port {port} (MASTER_ADDR, MASTER_PORT)"
    others = "process 0"
    if rank == 0:
        others = f"processes 1 to {size - 1}" if size > 2 else "process 1"
    told = (
        f"process {rank} of {size} waits for {others} at {where}, for up to "
        f"{MEETING.seconds // 60} minutes; start all of them with srun or torchrun, or unset "
        "SLURM_NTASKS to train alone"
    )
    try:
        url = f"tcp://{address}:{port}"
        store, rank, size = attentively(
            lambda: next(rendezvous(url, rank, size, timeout=MEETING)), told
        )
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=size, timeout=VALIDATION
        )
    except (RuntimeError, ValueError) as e:
        raise UnsamError(
            f"process {rank} of {size} cannot connect to the others at {where}: {e}"
        ) from e


def attentively(wait: Callable[[], R], told: str) -> R:
    """Call `wait` in a thread, so that signals are obeyed; log `told` once if it takes long.

    A handler of Python does not run while the main thread waits in torch.
    """
    answers: queue.SimpleQueue[tuple[list[R], BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(([wait()], None))
        except BaseException as error:  # raised in the thread that asked
            answers.put(([], error))

    threading.Thread(target=work, daemon=True).start()
    silent_until = time.monotonic() + SILENCE
    while True:
        with suppress(queue.Empty):
            answer, error = answers.get(timeout=_PATIENCE)
            if error is not None:
                raise error
            return answer[0]
        if time.monotonic() > silent_until:
            silent_until = float("inf")
            logger.warning("%s", told)
