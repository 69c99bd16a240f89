"""Stopping early on request: finish the record at hand, save, exit 75.

While images are worked on, the handler only sets a flag, which the run looks at between them. At
any other time, as while input is copied or the output composed, there is nothing to finish: an
exception ends the program at once, and temporary files are removed on its way.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGUSR1)


class SignalExit(BaseException):
    """A signal asks the program to stop; not an error, so that no handler of errors catches it."""


class StopRequest:
    """Set by a signal; `signal_name` says which."""

    signal_name: str | None = None

    def __bool__(self) -> bool:
        return self.signal_name is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the signal."""
        self.signal_name = signal.Signals(number).name


@contextmanager
def exit_on_signals() -> Iterator[StopRequest]:
    """Raise :class:`SignalExit` on SIGTERM and SIGUSR1 while the context lasts.

    Yields
    ------
    StopRequest
        Set by these, and by SIGINT where it is not ignored, which raises KeyboardInterrupt. Code
        that is imported at that moment may turn the exception into another; this still tells.
    """
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        request.handle(number, frame)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SignalExit(request.signal_name)

    ignored = signal.getsignal(signal.SIGINT) != signal.default_int_handler
    with _handling(handle, STOPPING if ignored else (*STOPPING, signal.SIGINT)):
        yield request


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGUSR1 into a :class:`StopRequest` while the context lasts.

    Outside the main thread signals cannot be handled: the request then never comes.
    """
    request = StopRequest()
    with _handling(request.handle, STOPPING):
        yield request


@contextmanager
def _handling(
    handle: Callable[[int, FrameType | None], None], numbers: Sequence[signal.Signals]
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
