"""Imports everything, then forks for each command line: ``python -m warm.server SOCKET``.

It has one thread, and ends when its standard input does.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import pkgutil
import random
import resource
import runpy
import selectors
import signal
import socket
import sys
import tempfile
import traceback
from io import TextIOWrapper
from typing import Any, NoReturn, TextIO

import numpy as np
from kernels import compile_once, trust_the_disk
from PIL import Image

import unsam_cli
from unsam_cli.rle import encode

LATE = ("cffi", "faults.kinds", "matplotlib.pyplot", "torch._dynamo", "torch.distributed")
"""What commands import while they run, where it is installed."""


def prepare() -> None:
    """Import what any command does; set up what is set up at its first use."""
    compile_once()
    trust_the_disk()
    ours = (module.name for module in pkgutil.walk_packages(unsam_cli.__path__, "unsam_cli."))
    late = (name for name in LATE if importlib.util.find_spec(name.partition(".")[0]))
    for name in (*late, *ours):
        if not name.endswith("__main__"):
            importlib.import_module(name)
    Image.init()
    encode(np.zeros((2, 2), np.bool_))  # numba
    # Nothing of it is garbage; to look at it would copy it for each program.
    gc.freeze()


class Server:
    """Waits for requests, and for the ends of programs."""

    def __init__(self, name: str) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(name)
        self.listener.listen(64)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(0, selectors.EVENT_READ)
        self.running: dict[int, tuple[int, socket.socket]] = {}

    def serve(self) -> dict[str, Any]:
        """Fork for each request; return it, in the child."""
        while True:
            for key, _ in self.selector.select():
                if key.fd == 0:
                    raise SystemExit
                if key.fd in self.running:
                    self.end(key.fd)
                elif request := self.begin():
                    return request

    def begin(self) -> dict[str, Any] | None:
        """Start a program: return what it is, in the child."""
        connection, _ = self.listener.accept()
        try:
            request, files = _receive(connection)
        except ConnectionError:
            connection.close()
            return None
        pid = os.fork()
        if pid == 0:
            for number, file in enumerate(files):
                os.dup2(file, number)
            self.close()
        for open_one in files:
            os.close(open_one)
        if pid == 0:
            connection.close()
            return request
        _send(connection, pid)
        handle = os.pidfd_open(pid)
        self.running[handle] = pid, connection
        self.selector.register(handle, selectors.EVENT_READ)
        return None

    def end(self, handle: int) -> None:
        """Hand over the exit code of a program that has ended."""
        pid, connection = self.running.pop(handle)
        _, status = os.waitpid(pid, 0)
        _send(connection, os.waitstatus_to_exitcode(status))
        connection.close()
        self.selector.unregister(handle)
        os.close(handle)

    def close(self) -> None:
        """Close what a program does not have."""
        self.selector.close()
        self.listener.close()
        for handle, (_, connection) in self.running.items():
            os.close(handle)
            connection.close()


def _send(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it
        connection.sendall(b"%d\n" % number)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    content, files, _, _ = socket.recv_fds(connection, 2**20, 3)
    while not content.endswith(b"\n"):
        more = connection.recv(2**20)
        if not more:
            raise ConnectionError("the client is gone")
        content += more
    return json.loads(content), files


def _reopened(stream: TextIO, mode: str) -> TextIOWrapper:
    assert isinstance(stream, TextIOWrapper)
    found = os.fdopen(
        stream.fileno(), mode, encoding=stream.encoding, errors=stream.errors, closefd=False
    )
    assert isinstance(found, TextIOWrapper)
    found.reconfigure(line_buffering=stream.line_buffering, write_through=stream.write_through)
    return found


def become(request: dict[str, Any]) -> None:
    """Be what a new process is."""
    # What was made for the files of the server may have asked them for their kinds.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = _reopened(getattr(sys, name), mode)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    random.seed()
    for number in request["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    for name, limit in request["limits"].items():
        resource.setrlimit(int(name), (limit, limit))


def run(module: str) -> NoReturn:
    """Run a program and end as Python does, but for taking all modules apart: that takes 1 s."""
    code: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as e:
        code = e.code or 0
        assert isinstance(code, int)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError:
        code = 120
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    prepare()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert len(os.listdir("/proc/self/task")) == 1, "threads are not there after a fork"
    server = Server(sys.argv[1])
    print("ready", flush=True)
    asked = server.serve()
    become(asked)
    sys.argv = [asked["module"], *asked["words"]]
    run(asked["module"])
