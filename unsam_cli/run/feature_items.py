"""A features file as the input of a run, and its images as items."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unsam_cli.errors import FeatureFileError
from unsam_cli.io.features import PROMPT, FeatureFile
from unsam_cli.io.geo import Georeference
from unsam_cli.run.inputs import STDIN_NAME, local_file, name_of


@dataclass(frozen=True, slots=True)
class FeatureItem:
    """An image of a features file: its id, its name, its position in the file and on a map."""

    id: int
    file_name: str
    index: int
    georeference: Georeference | None = None


@contextmanager
def open_features(argument: str) -> Iterator[FeatureFile]:
    """Open a features file by its name; ``-`` is standard input.

    Raises
    ------
    FeatureFileError
        The file is damaged, or its features are not those of patches of the image.
    """
    with local_file(argument) as path, FeatureFile(path, name=name_of(argument)) as file:
        if file.attributes.facet == PROMPT:
            raise FeatureFileError(
                f"{file.name}: features for unsam finetune-sam (--backbone sam), whose grid "
                "is not aligned with the image; extract features of another backbone"
            )
        yield file


def lasting(file: FeatureFile) -> list[Path]:
    """Return the path in a list, which is empty if the file came from standard input."""
    return [] if file.name == STDIN_NAME else [file.path]


def feature_items(file: FeatureFile) -> list[FeatureItem]:
    """Return all images of `file`, by ascending id."""
    columns = (file.ids.tolist(), file.file_names(), range(len(file)), file.georeferences)
    items = list(map(FeatureItem, *columns))
    return sorted(items, key=lambda item: item.id)
