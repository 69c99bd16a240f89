"""Segment images into everything they contain, from scenes to small parts, without human labels.

The library behind the ``unsam`` command. In three lines of Python::

    import unsam_cli as unsam
    masks = unsam.segment("photo.jpg")
    masks.show()

:mod:`~unsam_cli.api` has these functions; they are imported when they are first used. The rooms of
the library, from the ground up: :mod:`~unsam_cli.rle` (mask algebra), :mod:`~unsam_cli.io` (the
only code that opens files), :mod:`~unsam_cli.backbones`, :mod:`~unsam_cli.divide` and
:mod:`~unsam_cli.conquer` (arrays in, arrays out), :mod:`~unsam_cli.run` (what every command
shares). ``docs/design.md`` has the map.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unsam_cli.api import (
        Features,
        Mask,
        Masks,
        Report,
        conquer,
        divide,
        evaluate,
        features,
        predict,
        read,
        segment,
    )

__version__ = "0.1.0"
__all__ = [
    "Features",
    "Mask",
    "Masks",
    "Report",
    "conquer",
    "divide",
    "evaluate",
    "features",
    "predict",
    "read",
    "segment",
]


def __getattr__(name: str) -> Any:
    """Import a function of the API when it is first used: ``unsam --help`` needs none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("conquer", "divide"):  # rooms that can be called, see unsam_cli/callable_room.py
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(f"{__name__}.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
