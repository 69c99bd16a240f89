"""What a process may use."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from unsam_cli.errors import MachineError
from unsam_cli.run.resources import allow_files, refuse_small_address_space, usable_cpus


@pytest.fixture
def limit() -> Iterator[int]:
    """Lower the limit of open files while a test lasts, and return the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_files_may_be_opened(limit: int) -> None:
    allow_files(300)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == 364
    assert hard == limit


def test_the_limit_is_never_lowered(limit: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_files(1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_the_hard_limit_holds(limit: int) -> None:
    allow_files(10**9)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert (soft, hard) == (hard, limit)


def test_slurm_bounds_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert usable_cpus() == 1
    monkeypatch.delenv("SLURM_CPUS_PER_TASK")
    every = usable_cpus()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", str(every + 1))
    assert usable_cpus() == every


OF_THE_PARENT = """
import subprocess, sys
from unsam_cli.run.resources import peak_memory

before = peak_memory()
ballast = bytearray(b"x" * 200_000_000)
assert peak_memory() > before + 100_000_000
line = "from unsam_cli.run.resources import peak_memory; print(peak_memory())"
ran = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
assert int(ran.stdout) < 100_000_000, ran.stdout
assert ballast
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere getrusage is all there is")
def test_memory_of_the_parent_is_not_ours() -> None:
    """In a process of its own: one that has run other tests may have had a higher peak."""
    subprocess.run([sys.executable, "-c", OF_THE_PARENT], check=True)


RELEASING = """
import resource
from pathlib import Path
from unsam_cli.run.resources import release_memory

def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

before = resident()
blocks = [bytearray(b"x" * 60_000) for _ in range(3000)]  # too small for pages of their own
last = blocks[-1]
assert resident() > before + 100_000_000
del blocks
release_memory()
assert resident() < before + 50_000_000
assert last
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing can be done elsewhere")
def test_what_is_free_is_given_back() -> None:
    """In a process of its own: one that has run other tests has room for the blocks already."""
    subprocess.run([sys.executable, "-c", RELEASING], check=True)


def test_a_low_limit_of_virtual_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {resource.RLIMIT_AS: (450000 * 1024, resource.RLIM_INFINITY)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    with pytest.raises(MachineError, match=r"450000 KiB, .* at least 1048576 \(ulimit -v\)"):
        refuse_small_address_space()
    limits[resource.RLIMIT_AS] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    refuse_small_address_space()
