"""Load and save promptable models.

Without new parts, a model folder has the format of transformers. With new parts, ``config.json``
says so, and the weights have a file name that transformers does not look for: it refuses the folder
instead of dropping the new parts. ``unsam.json`` lists the new parts and the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel

from unsam_cli.backbones.checkpoints import check_fit, read_checkpoint
from unsam_cli.backbones.folder_config import (
    building,
    make_config,
    read_json,
    refusing,
    write_json,
)
from unsam_cli.backbones.model_files import ABOUT, open_model
from unsam_cli.backbones.pretrained import load_network, save_network, share_weights
from unsam_cli.backbones.soundness import state_size
from unsam_cli.errors import CheckpointError, MissingInputError, UsageError
from unsam_cli.sam.lora import merged_state
from unsam_cli.sam.meta import load_original
from unsam_cli.sam.model import PromptableModel
from unsam_cli.sam.promptable import Promptable
from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.semantic.files import (
    FIX,
    MODEL_TYPE,
    describe,
    from_folder,
    is_semantic,
    read_semantic,
)
from unsam_cli.sam.semantic.model import SemanticModel
from unsam_cli.sam.semantic.network import SemanticNetwork
from unsam_cli.sam.semantic.weights import to_published
from unsam_cli.sam.settings import PromptableConfig

FORMAT, VERSION = "unsam-promptable", 1
_WEIGHTS = "promptable.safetensors"
_NETWORKS = {"sam": (SamConfig, SamModel), "sam2": (Sam2Config, Sam2Model)}
_FAMILIES = {"sam": "sam", "sam2": "sam2", "sam2_video": "sam2"}
"""Families by ``model_type``; checkpoints of SAM 2 on the hub are video models."""
_MOST_SIDE = 4096
"""Maximum side of the network's input, in pixels; published networks have 1024."""
_FIX = (
    "give a folder or hub id of SAM or SAM 2, or an original checkpoint of either or of UnSAM's "
    "promptable model"
)


def load_promptable(checkpoint: str, device: str = "cpu") -> Promptable:
    """Load a promptable model, in evaluation mode.

    Parameters
    ----------
    checkpoint : str
        A folder written by `save_promptable` or transformers, an original checkpoint of SAM
        (``.pth``), SAM 2 (``.pt``) or UnSAM's promptable model (``.pth``), or a hub id.
    device : str
        Device to run on, as torch names it.

    Raises
    ------
    MissingInputError, WeightsUnavailableError, CheckpointError
        As `unsam_cli.backbones.model_files.open_model`.
    """
    model: Promptable = open_model(
        checkpoint,
        folder=_from_folder,
        file=_from_file,
        version=VERSION,
        fix=_FIX,
    )
    return model.eval().to(device)


def with_parts(model: Promptable, config: PromptableConfig, *, seed: int) -> Promptable:
    """Add new parts to a model that has none; return a model that has them already unchanged.

    Parameters
    ----------
    model : Promptable
    config : PromptableConfig
        Which parts to add.
    seed : int
        Seed of their initial weights.

    Raises
    ------
    UsageError
        The model has other new parts.
    """
    if model.config == config:
        return model
    if not model.config.plain:
        had, wanted = (_describe(c) for c in (model.config, config))
        raise UsageError(
            f"the checkpoint has {had}, not {wanted}: use the --masks-per-prompt and "
            "--granularity of its training, or another checkpoint"
        )
    changed = PromptableModel(model.network, config, seed=seed)
    changed.history, changed.identity = model.history, model.identity
    return changed.train(model.training)


def save_promptable(
    model: Promptable,
    folder: Path,
    *,
    weights: Mapping[str, Tensor] | None = None,
    history: list[dict[str, Any]] | None = None,
) -> None:
    """Write a folder that `load_promptable` opens; adapters are merged into the weights.

    Parameters
    ----------
    model : Promptable
        Not changed.
    folder : Path
        Created if it does not exist.
    weights : dict of tensors, optional
        State dict to write instead of the model's current one.
    history : list of dict, optional
        Steps that led to the weights; by default the model's.
    """
    state = merged_state(model.state_dict() if weights is None else weights)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    config = model.config
    about = {
        "format": FORMAT,
        "version": VERSION,
        "masks_per_prompt": config.masks_per_prompt,
        "granularity": config.granularity,
        "history": model.history if history is None else history,
    }
    write_json(folder / ABOUT, about)
    if isinstance(model, SemanticModel):
        network = {name.removeprefix("network."): tensor for name, tensor in state.items()}
        _save_parts(folder, describe(model.sizes), to_published(network))
        return
    if config.plain:
        network = {name.removeprefix("network."): tensor for name, tensor in state.items()}
        save_network(model.network, folder, network)
        return
    # Cloned: SAM keeps one tensor under two names, which safetensors does not.
    copies = {name: tensor.clone() for name, tensor in state.items()}
    _save_parts(folder, model.network.config.to_dict(), copies)


def _save_parts(folder: Path, base: Mapping[str, Any], state: dict[str, Tensor]) -> None:
    """Write a configuration and weights that transformers cannot load."""
    write_json(folder / "config.json", {"model_type": FORMAT, "base": base})
    safetensors.torch.save_file(state, folder / _WEIGHTS, {"format": "pt"})
    share_weights(folder)


def _from_file(path: Path) -> Promptable:
    content = read_checkpoint(path)
    if is_semantic(content):
        return _semantic(read_semantic(content, path), path)
    return PromptableModel(load_original(path, content))


def _semantic(network: SemanticNetwork, path: Path) -> SemanticModel:
    try:
        return SemanticModel(network)
    except UsageError as error:
        raise CheckpointError(f"{path}: {error}: {FIX}") from error


def _describe(config: PromptableConfig) -> str:
    granularity = "granularity" if config.granularity else "no granularity"
    return f"{config.masks_per_prompt} masks per prompt and {granularity}"


def _from_folder(folder: Path, about: Mapping[str, Any]) -> Promptable:
    config = read_json(folder / "config.json", _FIX)
    kind = config.get("model_type")
    kind = kind if isinstance(kind, str) else repr(kind)
    if kind == FORMAT:
        return _with_new_parts(folder, config, about)
    if kind in _FAMILIES:
        return PromptableModel(load_network(_NETWORKS[_FAMILIES[kind]][1], folder, trial=_try))
    raise CheckpointError(
        f"{folder}: a model of type {kind!r} is not supported as a promptable model: {_FIX}"
    )


def _parts(about: Mapping[str, Any], folder: Path) -> PromptableConfig:
    masks, granularity = about.get("masks_per_prompt"), about.get("granularity")
    if type(masks) is not int or type(granularity) is not bool:
        raise CheckpointError(
            f"{folder / ABOUT}: masks_per_prompt or granularity is missing: copy the whole folder"
        )
    try:
        return PromptableConfig(masks, granularity)
    except UsageError as error:
        raise CheckpointError(f"{folder / ABOUT}: {error}: copy the whole folder") from error


@torch.inference_mode()
def _try(network: Any) -> None:
    """Run a network on a blank image and one click, to check that it works."""
    model = PromptableModel(network).eval()
    if not 1 <= model.side <= _MOST_SIDE:
        raise ValueError(f"its input side would be {model.side} pixels")
    embedding = model.embed(torch.zeros(1, 3, model.side, model.side))
    first = torch.zeros(1, dtype=torch.int64)
    click = Prompts(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.int64))
    model.attend(embedding, click, fold=True).logits(first)


def _with_new_parts(
    folder: Path, config: Mapping[str, Any], about: Mapping[str, Any]
) -> Promptable:
    """Load a folder with new parts, or of UnSAM's network, which transformers cannot load."""
    if not (folder / _WEIGHTS).is_file():
        raise MissingInputError(f"{folder / _WEIGHTS}: no such file: copy the whole folder")
    state = read_checkpoint(folder / _WEIGHTS)
    described = config.get("base")
    if isinstance(described, dict) and described.get("model_type") == MODEL_TYPE:
        return _semantic(from_folder(described, state, folder / _WEIGHTS), folder)
    with refusing(folder):
        config_class, make_network = _NETWORKS[config["base"]["model_type"]]
        parts = _parts(about, folder)
    base = make_config(config_class, config["base"], folder / "config.json")
    with building(folder, state_size(state)), torch.device("meta"):
        _try(make_network(base))
    with building(folder, state_size(state)):
        model = PromptableModel(make_network(base), parts)
    check_fit(model.state_dict(), state, folder / _WEIGHTS, "copy the whole folder again")
    model.load_state_dict(state)
    return model
