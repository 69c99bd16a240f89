"""The words that ``unsam run`` gives to its stages."""

from __future__ import annotations

import os

import click
from click.core import ParameterSource

from unsam_cli.errors import UsageError
from unsam_cli.extraction.settings import OF_PARTS
from unsam_cli.run.inputs import ImageQuery, list_images
from unsam_cli.run.provenance import plain


def given(context: click.Context, *names: str) -> list[str]:
    """Return the words of options of a command that were given, in whatever way."""
    words = []
    for name in names:
        value, option = context.params[name], f"--{name.replace('_', '-')}"
        if context.get_parameter_source(name) is ParameterSource.DEFAULT:
            continue
        if isinstance(value, bool):
            words += [option] if value else []
        else:
            words += [option, str(plain(value))]
    return words


def words_of(images: ImageQuery) -> list[str]:
    """Return the words that name images."""
    words = ["-0"] if images.null else []
    for option, path in (("--coco", images.coco), ("--image-root", images.image_root)):
        words += [] if path is None else [option, str(path)]
    return [*words, "--", *images.arguments]


def without_regions(words: list[str]) -> list[str]:
    """Leave out what the features of whole images have no use for."""
    unused = {f"--{name.replace('_', '-')}" for name in OF_PARTS}
    left = [i for i, word in enumerate(words) if word in unused]
    return [word for i, word in enumerate(words) if i not in left and i - 1 not in left]


def folders_of(images: ImageQuery) -> list[str]:
    """Return the folders that the names of the images are relative to."""
    found = {
        item.place.removesuffix(item.file_name) for item in list_images(images, keep_missing=True)
    }
    return [os.path.join(folder, "") or "." for folder in sorted(found)]


def only_folder(images: ImageQuery) -> str:
    """Return the only folder that the names of the images are relative to.

    Raises
    ------
    UsageError
        There are several.
    """
    found = folders_of(images)
    if len(found) > 1:
        names = ", ".join(found[:2])
        raise UsageError(
            f"the images lie in several folders ({names}), and a report needs one: give a common "
            "parent, or use --no-report and unsam view"
        )
    return found[0]
