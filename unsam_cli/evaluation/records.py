"""The records of predictions of one image, without those that are invalid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from unsam_cli.errors import DataError
from unsam_cli.io.left_out import LeftOut, number_of
from unsam_cli.io.masks import MasksFile

T = TypeVar("T")
Records = list[tuple[str, dict[str, Any]]]
"""Records of one image, each with its name in messages."""


def of_sound_records(masks: MasksFile, image_id: int | None, read: Callable[[Records], T]) -> T:
    """Read the predictions of one image; if the file is opened so, without the invalid ones.

    Parameters
    ----------
    masks : MasksFile
        The predictions. What is left out is noted there.
    image_id : int, optional
        Id of the image in this file; None if the file does not have it.
    read : callable
        Reads records, all or one; raises a DataError if one is invalid.

    Returns
    -------
    object
        Result of `read` for the records that are left.

    Raises
    ------
    DataError
        A record is invalid, and the file was not opened to leave such records out.
    """
    records = [] if image_id is None else masks.records_of(image_id)
    try:
        return read(records)
    except DataError:
        if not masks.keep_going or image_id is None:
            raise
    sound: Records = []
    bad: list[LeftOut] = []
    for name, record in records:
        try:
            read([(name, record)])
            sound.append((name, record))
        except DataError as error:
            bad.append(LeftOut(image_id, number_of(record, name), str(error)))
    masks.left_out.record(image_id, bad)
    return read(sound)
