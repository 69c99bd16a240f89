"""Stopping early on request: finish the record at hand, save, exit 75.

While images are worked on, the handler only sets a flag, which the run looks at between them. At
any other time, as while input is copied or the output composed, there is nothing to finish: an
exception ends the program at once, and temporary files are removed on its way.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGUSR1)


class SignalExit(BaseException):
    """A signal came that asks the program to stop; no error, so that nobody handles it as one."""


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Raise :class:`SignalExit` on SIGTERM and SIGUSR1 while the context lasts."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise SignalExit(signal.Signals(number).name)

    with _handling(handle):
        yield


class StopRequest:
    """Set by a signal; `signal_name` says which."""

    signal_name: str | None = None

    def __bool__(self) -> bool:
        return self.signal_name is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the signal."""
        self.signal_name = signal.Signals(number).name


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGUSR1 into a :class:`StopRequest` while the context lasts.

    Outside the main thread signals cannot be handled: the request then never comes.
    """
    request = StopRequest()
    with _handling(request.handle):
        yield request


@contextmanager
def _handling(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handle) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
