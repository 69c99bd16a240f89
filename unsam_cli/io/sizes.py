"""Whether a photograph has the size of its masks."""

from __future__ import annotations

from pathlib import Path

from unsam_cli.errors import ImageFileError
from unsam_cli.io.images import orientation_of
from unsam_cli.io.pictures import Picture
from unsam_cli.io.settings import pixel_settings, tell_once

_TURNED = "if the masks were drawn on the unturned pixels, use --exif ignore"


def check_size(picture: Picture, found: tuple[int, ...], wanted: tuple[int, int]) -> None:
    """Refuse an image of another size than its masks; sizes are (H, W).

    If the EXIF orientation explains the difference, the message says so; if the sides are equal, a
    warning says that it may.

    Raises
    ------
    ImageFileError
        The sizes differ.
    """
    if found[:2] != wanted:
        raise _other_size(picture, found, wanted)
    _tell_if_square(picture, found)


def check_shape(picture: Picture, found: tuple[int, ...], wanted: tuple[int, int]) -> None:
    """Refuse an image of another aspect ratio than its masks, as :func:`check_size` does.

    The image may be a smaller copy: rounding a side may change the ratio by half a pixel per side.
    """
    (height, width), (h, w) = found[:2], wanted
    if abs(height * w - width * h) > max(height, width, h, w):
        raise _other_size(picture, found, wanted)
    _tell_if_square(picture, found)


def turned(picture: Picture, *, least: int = 5) -> str | None:
    """Say that a photograph was turned by its EXIF orientation, and what to do; None if not.

    With the `least` orientation 5 only a turn that swaps the sides counts, with 2 any.
    """
    if not isinstance(picture, Path) or pixel_settings().exif == "ignore":
        return None
    turn = orientation_of(picture)
    return f"turned by its EXIF orientation, {turn}" if turn >= least else None


def turn_hint(picture: Picture) -> str:
    """Return the end of a message about a prompt that does not fit a photograph, or no text."""
    return f": it is {how}; {_TURNED}" if (how := turned(picture)) else ""


def _other_size(
    picture: Picture, found: tuple[int, ...], wanted: tuple[int, int]
) -> ImageFileError:
    (height, width), (h, w) = found[:2], wanted
    hint = "give the annotated images"
    swapped = abs(height * h - width * w) <= max(height, width, h, w)
    if swapped and (how := turned(picture)):
        hint = f"it is {how}: {_TURNED}"
    name = picture if isinstance(picture, Path) else "the image"
    return ImageFileError(
        f"{name}: has {width} x {height} pixels, but its annotations are for {w} x {h}; {hint}"
    )


def _tell_if_square(picture: Picture, found: tuple[int, ...]) -> None:
    if found[0] == found[1] and (how := turned(picture, least=2)):
        tell_once("square", f"%s: is {how}, and its sides are equal: {_TURNED}", picture)
