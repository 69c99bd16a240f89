"""Embeddings of a frozen image encoder, read from a features file instead of computed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from unsam_cli.errors import FeatureFileError, UsageError
from unsam_cli.io.features import PROMPT, FeatureFile
from unsam_cli.io.image_entries import ImageInfo
from unsam_cli.sam.embedding import Embedding
from unsam_cli.sam.encoder import encoder_identity
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.promptable import Promptable


class KeptEmbeddings:
    """A features file of ``extract-features --backbone sam``; can be used in several processes.

    Parameters
    ----------
    path : Path
        The features file.
    model : Promptable
        Model whose encoder the features must come from.

    Attributes
    ----------
    identity : str
        Identity of the features: the encoder's hash and the dtype.

    Raises
    ------
    UsageError
        The model is no SAM.
    MissingInputError, FeatureFileError
        The file does not exist, is damaged, or has features of another encoder.
    """

    def __init__(self, path: Path, model: Promptable) -> None:
        if not isinstance(model, PromptableModel):
            raise UsageError(
                "--features holds embeddings of a SAM, and the checkpoint is none: leave it out"
            )
        self._path = path
        self._channels: int = model.network.config.prompt_encoder_config.hidden_size
        self._open: tuple[int, FeatureFile] | None = None
        file = self._file
        fix = "extract them with --backbone sam --weights CHECKPOINT"
        if file.attributes.facet != PROMPT:
            raise FeatureFileError(
                f"{path}: features of {file.attributes.backbone}, not of a promptable model: {fix}"
            )
        if file.attributes.weights != encoder_identity(model):
            raise FeatureFileError(
                f"{path}: features of a different encoder than the checkpoint's: {fix}"
            )
        self.identity = f"{file.attributes.weights} {file.dtype}"
        self._index = {name: index for index, name in enumerate(file.file_names())}

    @property
    def _file(self) -> FeatureFile:
        # HDF5 handles do not survive a fork.
        if self._open is None or self._open[0] != os.getpid():
            self._open = os.getpid(), FeatureFile(self._path)
        return self._open[1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None}

    def read(self, image: ImageInfo) -> Embedding:
        """Read the embedding of an image, with B = 1.

        Raises
        ------
        FeatureFileError
            The file does not have it, it is damaged, or the image had another size.
        """
        index = self._index.get(image.file_name)
        if index is None:
            raise FeatureFileError(
                f"{self._path}: has no features of {image.file_name}; extract them, and "
                "join the files with unsam merge"
            )
        entry = self._file.image(index)
        if (entry.height, entry.width) != (image.height, image.width):
            raise FeatureFileError(
                f"{self._path}: {image.file_name} has {entry.width} x {entry.height} "
                f"pixels, but {image.width} x {image.height} in the annotations: extract "
                "its features again"
            )
        records = self._file.records(index)
        if len(records) != 1:
            raise FeatureFileError(
                f"{self._path}: {image.file_name} has {len(records)} records instead of one: "
                "extract its features again"
            )
        return Embedding.from_grid(torch.from_numpy(records[0].features)[None], self._channels)
