"""Stop early on request: finish the current image, save, and exit with code 75.

While images are processed, the signal handler only sets a flag, which the run checks between
images. At other times, for instance while the input is copied or the output is composed, there is
nothing to finish: an exception ends the program at once, and temporary files are removed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGUSR1)


class SignalExit(BaseException):
    """Raised when a signal stops the program; not an Exception, so error handlers ignore it."""


class StopRequest:
    """A flag that a signal sets; `signal_name` is the name of the signal."""

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
        Set by these signals, and by SIGINT unless it is ignored, which raises KeyboardInterrupt. A
        module that is being imported may replace the exception by another; the flag stays set.
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

    Outside of the main thread signals cannot be handled, and the flag is never set.
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
