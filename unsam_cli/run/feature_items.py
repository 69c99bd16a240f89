"""The images of a features file as items of a run."""

from __future__ import annotations

from dataclasses import dataclass

from unsam_cli.io.features import FeatureFile


@dataclass(frozen=True, slots=True)
class FeatureItem:
    """An image of a features file: its id, its name, its position in the file."""

    id: int
    file_name: str
    index: int


def feature_items(file: FeatureFile) -> list[FeatureItem]:
    """Return all images of `file`, by ascending id."""
    named = zip(file.ids.tolist(), file.file_names(), strict=True)
    items = [FeatureItem(i, name, index) for index, (i, name) in enumerate(named)]
    return sorted(items, key=lambda item: item.id)
