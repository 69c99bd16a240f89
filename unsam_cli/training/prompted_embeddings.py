"""What the frozen encoder sees in images, kept on disk: it looks at each image once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from unsam_cli.errors import CheckpointError, OutputError
from unsam_cli.sam.decoding import Embedding


class EmbeddingCache:
    """A folder of files, one an image, named by the encoder and the content of the image's file.

    Several processes and trainings may share it: files appear whole, and are never changed.

    Parameters
    ----------
    folder : Path
        Made when the first file is written.
    identity : str
        Of the encoder's weights and precision: another encoder sees something else.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        self._folder = folder / digest

    def file_of(self, image: Path) -> Path:
        """Return where the features of an image are kept, whether they are there or not."""
        with image.open("rb") as stream:
            return self._folder / f"{hashlib.file_digest(stream, 'sha256').hexdigest()}.safetensors"

    def read(self, file: Path) -> Embedding | None:
        """Read features, if they are there.

        Raises
        ------
        CheckpointError
            The file is damaged.
        """
        if not file.exists():
            return None
        try:
            tensors = load_file(file)
            image = tensors.pop("image")
        except (OSError, SafetensorError, KeyError) as error:
            raise CheckpointError(f"{file}: is damaged ({error}); delete it") from error
        return Embedding(image, tuple(tensors[name] for name in sorted(tensors)))

    def write(self, file: Path, embedding: Embedding) -> None:
        """Keep the features of an image.

        Raises
        ------
        OutputError
            They cannot be written.
        """
        tensors = {"image": embedding.image}
        tensors |= {f"high.{i}": features for i, features in enumerate(embedding.high)}
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            content = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
            temporary.write_bytes(save(content))  # save_file would let nobody else read it
            temporary.replace(file)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OutputError(f"{file}: cannot be written: {error}") from error
