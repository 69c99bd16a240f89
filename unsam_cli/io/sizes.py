"""Whether a photograph has the size of its masks."""

from __future__ import annotations

from pathlib import Path

from unsam_cli.errors import ImageFileError
from unsam_cli.io.images import orientation_of
from unsam_cli.io.settings import pixel_settings, tell_once


def check_size(path: Path, found: tuple[int, ...], wanted: tuple[int, int]) -> None:
    """Refuse an image of another size than its masks; sizes are (H, W).

    If the EXIF orientation explains the difference, the message says so; if the sides are equal, a
    warning says that it may.

    Raises
    ------
    ImageFileError
        The sizes differ.
    """
    height, width = found[:2]
    if (height, width) != wanted:
        hint = "give the annotated images"
        if wanted == (width, height) and (turn := orientation_of(path)) >= 5:
            hint = (
                f"it is turned by its EXIF orientation, {turn}: if the masks were drawn on the "
                "unturned pixels, use --exif ignore"
            )
        raise ImageFileError(
            f"{path}: has {width} x {height} pixels, but its annotations are for "
            f"{wanted[1]} x {wanted[0]}; {hint}"
        )
    if height == width and pixel_settings().exif == "apply" and (turn := orientation_of(path)) > 1:
        tell_once(
            "square",
            "%s: is turned by its EXIF orientation, %d, and its sides are equal: if its masks were "
            "drawn on the unturned pixels, use --exif ignore",
            *(path, turn),
        )
