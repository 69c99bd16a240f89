"""Programs that start warm: a server has imported what takes seconds, and forks for each command.

It starts when the first program does, and ends with the tests.

A program is a process as any other, with its own number, exit code, signals, limits and open
files, and ends as Python ends. Only its modules have been imported before. What is about imports,
or about the first moments of a program, starts cold: ``[sys.executable, "-m", "unsam_cli", ...]``.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

CLIENT = Path(__file__).with_name("client.py")
_PATIENCE = 900.0  # seconds until the server has imported everything, on a busy machine
_FOLDER = "WARM_SERVER"  # variable of the environment: the folder of the server's files
_LIFE = "life"  # named pipe: the server ends when nobody can write to it


class Program:
    """A program that runs, as ``subprocess.Popen``: the same names mean the same.

    Parameters
    ----------
    words : list of str
        After the name of the program.
    module : str
        What runs, as with ``python -m``.
    cwd : Path, optional
        Where it runs.
    limits : mapping, optional
        Limits of resources, soft and hard, by their numbers.
    ignored : tuple of int, optional
        Signals that it ignores.
    """

    def __init__(
        self,
        words: list[str],
        *,
        module: str = "unsam_cli",
        cwd: Path | None = None,
        limits: Mapping[int, int] | None = None,
        ignored: tuple[int, ...] = (),
    ) -> None:
        request = {
            "module": module,
            "words": words,
            "cwd": str(cwd or Path.cwd()),
            "environment": dict(os.environ),
            "limits": {str(name): value for name, value in (limits or {}).items()},
            "ignored": ignored,
        }
        out, err = os.pipe(), os.pipe()
        self.stdout: IO[bytes] | None = open(out[0], "rb")  # noqa: SIM115
        self.stderr: IO[bytes] | None = open(err[0], "rb")  # noqa: SIM115
        self.args = words
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(server())
        with open(os.devnull, "rb") as nothing:
            files = [nothing.fileno(), out[1], err[1]]
            socket.send_fds(self._connection, [json.dumps(request).encode() + b"\n"], files)
        os.close(out[1])
        os.close(err[1])
        self._answers = self._connection.makefile("rb")
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """Return the exit code, or None while the program runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.returncode = int(self._answers.readline())
            self._answers.close()
            self._connection.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code."""
        if self.returncode is None:
            select.select([self._connection], [], [], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if the program runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the program."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Read what the program says until it ends."""
        said: dict[str, bytes] = {"stdout": b"", "stderr": b""}

        def read(name: str, stream: IO[bytes]) -> None:
            said[name] = stream.read()
            stream.close()

        threads = [
            threading.Thread(target=read, args=(name, stream), daemon=True)
            for name in said
            if (stream := getattr(self, name)) is not None and not stream.closed
        ]
        for thread in threads:
            thread.start()
        self.wait(timeout)
        for thread in threads:
            thread.join(timeout)
        return said["stdout"], said["stderr"]


def hold() -> Path:
    """Make the folder of a server for this process and those that it starts; end both at exit."""
    folder = Path(tempfile.mkdtemp(prefix="unsam-warm-"))
    os.mkfifo(folder / _LIFE)
    life = os.open(folder / _LIFE, os.O_RDWR)
    os.environ[_FOLDER] = str(folder)
    atexit.register(shutil.rmtree, folder)
    atexit.register(os.close, life)  # at first
    return folder


@functools.cache
def server() -> str:
    """Return the name of the socket of the server, which is started the first time.

    All workers of a test run share it, so that one process imports everything, and not each.
    """
    folder = Path(os.environ[_FOLDER]) if _FOLDER in os.environ else hold()
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "socket").exists():
            _start(folder)
    return str(folder / "socket")


def _start(folder: Path) -> None:
    """Start a server, and wait until it has imported everything."""
    with open(folder / _LIFE, "rb") as life:
        process = subprocess.Popen(
            [sys.executable, "-m", "warm.server", str(folder / "socket")],
            stdin=life,  # it ends with the process that holds the folder
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    atexit.register(process.poll)  # keeps it, which would warn that the server still runs
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], _PATIENCE)[0], "the server does not start"
    assert process.stdout.readline() == b"ready\n", "the server did not start"
    process.stdout.close()


def command(module: str = "unsam_cli") -> str:
    """Return the words for a shell that start a program; its own words follow."""
    return shlex.join([sys.executable, "-I", "-S", str(CLIENT), server(), module])
