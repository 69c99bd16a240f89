"""Speed of a backbone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from unsam_cli.backbones import Backbone


@dataclass
class Meter:
    """The work that a backbone has done so far.

    Attributes
    ----------
    crops : int
        Number of crops computed.
    seconds : float
        Time in the backbone, in seconds, summed over threads.
    flops : float
        Number of operations in matrix products; 0 for a backbone that does not count them.
    """

    crops: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def measure(self, backbone: Backbone, shapes: Sequence[tuple[int, ...]]) -> Iterator[None]:
        """Add the time of the block, which computes crops of these shapes (h, w, 3)."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        count = getattr(backbone, "flops", None)
        flops = sum(count(shape[0], shape[1]) for shape in shapes) if count else 0.0
        with self._lock:
            self.crops += len(shapes)
            self.seconds += seconds
            self.flops += flops

    def fraction_of(self, rate: float) -> float:
        """Return the operations per second as a fraction of a measured `rate`; 0 without work."""
        return self.flops / self.seconds / rate if self.seconds > 0 else 0.0
