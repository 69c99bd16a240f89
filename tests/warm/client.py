"""A program of a shell that starts warm: ``python -I -S client.py SOCKET MODULE WORDS...``.

The program has the standard streams, the folder and the environment of this process, which hands
on signals and ends as the program ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys


def main() -> None:
    """Start it, and wait for its end."""
    request = {
        "module": sys.argv[2],
        "words": sys.argv[3:],
        "cwd": os.getcwd(),
        "environment": dict(os.environ),
        "limits": {},
        "ignored": [],
    }
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        for number in range(3):
            os.close(number)  # a pipe ends when the program ends, not with this process
        answers = connection.makefile("rb")
        pid = int(answers.readline())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, lambda number, frame: os.kill(pid, number))
        code = int(answers.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


main()
