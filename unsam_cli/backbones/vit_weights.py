"""Weights of vision transformers: local files of several makes, and the hub.

Files are read without running code from them (``weights_only=True``, or safetensors), and what a
file holds must be what the model needs: a checkpoint that fits only in part is refused, not used.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import logging
import math
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import timm
import torch
from timm.models import eva, vision_transformer
from torch import Tensor

from unsam_cli.errors import CheckpointError, MissingInputError, WeightsUnavailableError

logger = logging.getLogger(__name__)

_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
_WRAPPERS = ("teacher", "model_ema", "state_dict", "model", "student")
"""Keys under which training checkpoints keep the network, the best one first."""
_PREFIXES = ("module.", "_orig_mod.", "backbone.")
_UNUSED = ("head", "fc_norm", "norm.", "attn_pool", "decoder", "mask_token", "pre_logits", "proj")
"""Beginnings of names that published checkpoints have and patch features do not need."""


@dataclass(frozen=True)
class RandomSource:
    """Weights as they are before training."""


@dataclass(frozen=True)
class FileSource:
    """A local checkpoint."""

    path: Path


@dataclass(frozen=True)
class HubSource:
    """A repository of the Hugging Face hub; None is the one that timm knows for the model."""

    repository: str | None


def find_source(name: str, weights: str | None) -> RandomSource | FileSource | HubSource:
    """Say what `--weights` means.

    Raises
    ------
    MissingInputError
        `weights` is the name of a file that does not exist.
    """
    if weights == "random":
        return RandomSource()
    if weights is None:
        return HubSource(None)
    for prefix in ("hf-hub:", "hf_hub:"):
        if weights.startswith(prefix):
            return HubSource(weights.removeprefix(prefix))
    path = Path(weights)
    if path.is_file():
        return FileSource(path)
    if path.suffix in _SUFFIXES or weights.count("/") != 1 or weights[0] in "/.~":
        raise MissingInputError(
            f"weights {weights!r} for {name} do not exist: give a checkpoint file or a hub id "
            "like timm/vit_base_patch8_224.dino"
        )
    return HubSource(weights)
