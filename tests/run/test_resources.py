"""What a process may use."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from unsam_cli.run.resources import allow_files


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
