"""Several processes that train together, started by ``torchrun`` or plain ``srun``."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unsam_cli.backbones.accelerator import accelerator
from unsam_cli.errors import UnsamError, UsageError
from unsam_cli.run.resources import peak_memory
from unsam_cli.training.meeting import meet

R = TypeVar("R")
FIRST_PORT, PORTS = 20_000, 12_000  # below those that systems hand out for outgoing connections


@dataclass(frozen=True)
class Place:
    """Rank of this process, number of processes, and address of the main one.

    Parameters
    ----------
    rank, size : int
        Rank of this process, from 0, and number of processes.
    local_rank : int
        Rank of this process on its node, from 0.
    address, port : str, int
        Host name and port of rank 0.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    address: str = "localhost"
    port: int = FIRST_PORT


def find_place(environment: Mapping[str, str]) -> Place:
    """Read this process's place from the variables of ``torchrun`` or ``srun``.

    Without these, it is a single process. ``MASTER_ADDR`` and ``MASTER_PORT`` are used if set. By
    default, processes of ``srun`` meet on the first host of the step (or job), at a port that
    depends on job and step.

    Raises
    ------
    UsageError
        The variables are invalid or contradict each other.
    """
    get = environment.get
    try:
        if "RANK" in environment and "WORLD_SIZE" in environment:
            rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
            local, host, port = int(get("LOCAL_RANK", "0")), "localhost", FIRST_PORT
        elif _in_a_step_of_slurm(environment):
            rank, size = int(environment["SLURM_PROCID"]), int(_slurm_tasks(environment))
            local = int(get("SLURM_LOCALID", "0"))
            host = first_host(get("SLURM_STEP_NODELIST") or get("SLURM_JOB_NODELIST", ""))
            job, step = int(get("SLURM_JOB_ID", "0")), int(get("SLURM_STEP_ID", "0"))
            port = FIRST_PORT + (job * 31 + step) % PORTS
        else:
            return Place()
        place = Place(
            rank, size, local, get("MASTER_ADDR", host), int(get("MASTER_PORT", str(port)))
        )
    except ValueError as e:
        raise UsageError(f"the environment of torchrun or srun is broken: {e}") from e
    if not 0 <= place.rank < place.size:
        raise UsageError(f"process {place.rank} of {place.size}: the environment is broken")
    return place


def _in_a_step_of_slurm(environment: Mapping[str, str]) -> bool:
    # The batch script has the variables of task 0 of all tasks, too, but runs alone.
    in_batch_script = "SLURM_TASK_PID" in environment and "SLURM_STEP_ID" not in environment
    told = "SLURM_PROCID" in environment and not in_batch_script
    return told and int(_slurm_tasks(environment)) > 1


def _slurm_tasks(environment: Mapping[str, str]) -> str:
    return environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS", "1")


def first_host(hosts: str) -> str:
    """Return the first host of a Slurm host list, such as ``gpu[07-09,12],login``.

    A single host is this node, which may not be able to resolve its own name: ``localhost``.
    """
    first = re.sub(r"\[([^],-]+)[^]]*\]", r"\1", hosts).split(",")[0]
    return "localhost" if first == hosts else first


class World:
    """The processes that train together, which may be one.

    Attributes
    ----------
    rank, size : int
        Rank of this process, from 0, and number of processes.
    device : str
        Device of this process, as torch names it.
    """

    def __init__(self, place: Place, device: str) -> None:
        self.rank, self.size = place.rank, place.size
        self.device = device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def peak_memory(self) -> int:
        """Return the peak memory of this process in bytes, on its GPU if it has one."""
        on_gpu = self.device.startswith("cuda")
        return torch.cuda.max_memory_allocated(self.device) if on_gpu else peak_memory()

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return `module` with gradients averaged over processes in the backward pass."""
        if self.size == 1:
            return module
        # The stride of a depthwise kernel's only input channel is arbitrary: nothing is copied.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
        warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
        return DistributedDataParallel(
            module,
            gradient_as_bucket_view=True,
            find_unused_parameters=True,  # a batch without masks may leave weights out
        )

    def without_averaging(self, model: nn.Module, when: bool) -> AbstractContextManager[None]:
        """Return a context in which, if `when`, backward passes do not average gradients yet."""
        if when and isinstance(model, DistributedDataParallel):
            context: AbstractContextManager[None] = model.no_sync()
            return context
        return nullcontext()

    def sum(self, values: Tensor) -> Tensor:
        """Sum a tensor on the CPU over all processes, in place, and return it."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return bool(self.sum(torch.tensor(int(flag))))

    def gather(self, value: R) -> list[R]:
        """Return the values of all processes, by rank."""
        values = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def raise_first(self, error: UnsamError | None) -> None:
        """Raise the error of the lowest rank that has one, an `UnsamError`, in all processes."""
        for e in self.gather(error):
            if e is not None:
                raise e

    def on_main(self, function: Callable[[], R]) -> R:
        """Call `function` in the main process, and return its result in all processes.

        Raises
        ------
        UnsamError
            The error that `function` raised; it is raised in all processes.
        """
        if self.size == 1:
            return function()
        answer: list[Any] = [None]
        if self.is_main:
            try:
                answer = [function()]
            except UnsamError as e:
                answer = [e]
        dist.broadcast_object_list(answer, src=0, device=torch.device("cpu"))
        if isinstance(answer[0], UnsamError):
            raise answer[0]
        result: R = answer[0]
        return result


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Connect to the other processes, if any, and disconnect at the end.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. With ``cuda``, each process uses the GPU
        of its local rank.

    Raises
    ------
    UsageError
        Several processes would share one device, or their environment is broken.
    UnsamError
        The other processes cannot be reached.
    """
    place = find_place(os.environ)
    chosen = accelerator(device) or "cpu"
    if place.size > 1 and chosen not in ("cpu", "cuda"):
        raise UsageError(
            f"{place.size} processes cannot train together on {chosen}: give --device cuda, "
            "so that each process uses its own GPU"
        )
    if chosen == "cuda":
        chosen = f"cuda:{place.local_rank % torch.cuda.device_count()}"
    if chosen.startswith("cuda"):
        torch.cuda.set_device(chosen)
    if place.size > 1:
        # Tensors on the CPU are exchanged by gloo, without waiting for the GPU.
        backend = "cpu:gloo,cuda:nccl" if chosen.startswith("cuda") else "gloo"
        meet(place.rank, place.size, place.address, place.port, backend=backend)
    try:
        yield World(place, chosen)
    finally:
        if place.size > 1:
            dist.destroy_process_group()
