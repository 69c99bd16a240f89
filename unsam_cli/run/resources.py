"""Resources that this process may use or has used."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import sys
from pathlib import Path

from unsam_cli.errors import EXIT_FAILURE, MachineError

# Not a measured limit; with 450 000 KiB the compiled libraries end the process without a message.
_LEAST_ADDRESSES = 2**30


def usable_cpus() -> int:
    """Return the number of CPUs for this process: its affinity, limited by quota and Slurm."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cpus = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cpus = min(cpus, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no control group, or "max": no quota
        pass
    share = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if share.isdecimal():  # not all sites bind tasks to CPUs
        cpus = min(cpus, int(share))
    return max(cpus, 1)


def allow_files(count: int) -> None:
    """Raise the limit of open files to `count` and some more, up to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 64  # for other open files
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def refuse_small_address_space() -> None:
    """Refuse to start if the limit of memory makes libraries end the process or hang silently.

    Raises
    ------
    MachineError
        The limit (``ulimit -v``) is too low.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY and most < _LEAST_ADDRESSES:
        raise MachineError(
            f"the limit of virtual memory, {most // 1024} KiB, is too low to start; allow at least "
            f"{_LEAST_ADDRESSES // 1024} (ulimit -v), better more",
            EXIT_FAILURE,
        )


def release_memory() -> None:
    """Return free memory to the system if the C library keeps it."""
    with contextlib.suppress(AttributeError):  # only glibc has this function
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    try:  # getrusage includes the peak of the parent before the fork
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
