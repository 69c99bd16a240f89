"""What this process may use of the machine, and what it has used."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import sys
from pathlib import Path


def usable_cpus() -> int:
    """Return the CPUs this process may use: its affinity, at most what quota and Slurm say."""
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
    """Let this process open so many files and some more, as far as the hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 64  # what is open besides
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def release_memory() -> None:
    """Give memory that is free back to the system, where the C library would keep it."""
    with contextlib.suppress(AttributeError):  # only glibc can be told to
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    try:  # getrusage has the parent's peak, too, if that was larger when it started us
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
