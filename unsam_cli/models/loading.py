"""Create, load and save segmenters.

A model folder has the files of transformers (``config.json``, ``model.safetensors``), whose
``from_pretrained`` opens it, and ``unsam.json`` with our settings and the history of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsam_cli.backbones.checkpoints import check_fit
from unsam_cli.backbones.folder_config import building, read_json, refusing, write_json
from unsam_cli.backbones.model_files import ABOUT, folder_identity, open_model
from unsam_cli.backbones.pretrained import load_network, save_network
from unsam_cli.backbones.soundness import state_size
from unsam_cli.backbones.vit_hub import fetch_folder, hub_id
from unsam_cli.errors import CheckpointError, UsageError
from unsam_cli.models.backbone_weights import load_backbone
from unsam_cli.models.condinst_files import create_condinst, load_condinst, save_condinst
from unsam_cli.models.detectron2 import fit_detectron2, read_detectron2
from unsam_cli.models.folders import publish_folder
from unsam_cli.models.inputs import MEAN, STD
from unsam_cli.models.networks import NETWORKS, config_of, create_eomt, create_mask2former
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.settings import CONDINST, SegmenterConfig
from unsam_cli.models.vit_to_eomt import eomt_state

FORMAT, VERSION = "unsam-segmenter", 1
_EXAMPLE = asdict(SegmenterConfig(backbone_weights="", decoder_layers=1))
"""An example value of the right type for every setting."""
_MOST_PIXELS = 2**17
"""Longest allowed side in pixels; larger images do not fit into memory."""
_MOST_MULTIPLE = 512
_FIX = "give a folder or hub id of Mask2Former, EoMT or CondInst, or a checkpoint of UnSAM (.pth)"


def create_segmenter(config: SegmenterConfig, *, seed: int) -> Segmenter:
    """Create an untrained segmenter with a pretrained backbone.

    Parameters
    ----------
    config : SegmenterConfig
        What to create.
    seed : int
        Seed of all random weights.

    Returns
    -------
    Segmenter
        On the CPU, in training mode. Its `identity` is that of the backbone's weights.

    Raises
    ------
    UsageError
        The backbone is unknown or does not suit the architecture.
    CheckpointError, MissingInputError, WeightsUnavailableError
        The backbone's weights do not fit, do not exist, or cannot be downloaded.
    """
    network, identity = _CREATE[config.architecture](config, seed)
    if _is_folder(config.backbone):  # its path is of no use on other machines
        config = replace(config, backbone=network.config.backbone_config.model_type)
    segmenter = Segmenter(network, config).train()
    segmenter.identity = identity
    return segmenter


def load_segmenter(checkpoint: str, device: str = "cpu") -> Segmenter:
    """Load a segmenter, in evaluation mode.

    Parameters
    ----------
    checkpoint : str
        A folder written by `save_segmenter` or, for Mask2Former and EoMT, by transformers; a
        published UnSAM checkpoint of detectron2 (``.pth``); or a hub id of such a folder.
    device : str
        Device to run on, as torch names it.

    Raises
    ------
    MissingInputError, WeightsUnavailableError, CheckpointError
        As `unsam_cli.backbones.model_files.open_model`.
    """
    segmenter: Segmenter = open_model(
        checkpoint, folder=_from_folder, file=_from_detectron2, version=VERSION, fix=_FIX
    )
    return segmenter.eval().to(device)


def save_segmenter(
    segmenter: Segmenter,
    folder: Path,
    *,
    weights: Mapping[str, Tensor] | None = None,
    history: list[dict[str, Any]] | None = None,
) -> None:
    """Write a folder that `load_segmenter` and ``from_pretrained`` of transformers open.

    Parameters
    ----------
    segmenter : Segmenter
        Not changed.
    folder : Path
        Created if it does not exist. To write it atomically, see `unsam_cli.models.folders`.
    weights : dict of tensors, optional
        State dict to write instead of ``segmenter.state_dict()``.
    history : list of dict, optional
        Steps that led to the weights; by default the segmenter's.

    Raises
    ------
    CheckpointError
        `weights` do not fit the segmenter.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = segmenter.state_dict() if weights is None else weights
    check_fit(segmenter.state_dict(), state, folder, "these are not the weights of the segmenter")
    weights = {k.removeprefix("network."): v.detach().cpu().contiguous() for k, v in state.items()}
    if segmenter.config.architecture == CONDINST:
        save_condinst(segmenter.network, folder, weights)
    else:
        save_network(segmenter.network, folder, weights)
    about = {
        "format": FORMAT,
        "version": VERSION,
        # Without the path of the backbone's weights: its identity belongs in the history.
        "config": {**asdict(segmenter.config), "backbone_weights": None},
        "inputs": {"mean": MEAN, "std": STD, "multiple": segmenter.multiple, "channels": "RGB"},
        "history": segmenter.history if history is None else history,
    }
    write_json(folder / ABOUT, about)


def convert_checkpoint(
    file: Path, folder: Path, *, history: list[dict[str, Any]] | None = None
) -> None:
    """Convert a whole-image checkpoint of detectron2 into a folder.

    Parameters
    ----------
    file : Path
        Published UnSAM checkpoint (``.pth``).
    folder : Path
        Folder to write, atomically; an existing model in it is replaced.
    history : list of dict, optional
        Steps that led to the weights.

    Raises
    ------
    CheckpointError
        The file is damaged, incomplete, or not such a checkpoint.
    OutputError
        The folder cannot be written.
    """
    segmenter = _from_detectron2(file)
    publish_folder(folder, lambda part: save_segmenter(segmenter, part, history=history))


def _create_mask2former(config: SegmenterConfig, seed: int) -> tuple[Any, str]:
    folder, identity = None, ""
    if _is_folder(config.backbone):
        folder = Path(config.backbone)
        read_json(folder / "config.json", "give a Hugging Face backbone")
        identity = folder_identity(folder)
    elif "/" in config.backbone:
        repository = hub_id(config.backbone)
        if repository is None:
            raise UsageError(
                f"{config.backbone} is neither a folder, nor a model name, nor a hub id"
            )
        folder, identity = fetch_folder(repository, fix="give another --backbone")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = create_mask2former(config, folder)
    encoder = network.model.pixel_level_module.encoder
    return network, load_backbone(encoder, config, folder, seed) or identity


def _is_folder(backbone: str) -> bool:
    """Return whether `backbone` is a folder; a name without a slash is always a network."""
    return "/" in backbone and Path(backbone).is_dir()


def _create_eomt(config: SegmenterConfig, seed: int) -> tuple[Any, str]:
    from unsam_cli.backbones.vit_model import create_model  # timm takes 0.2 GB

    vit, identity = create_model(
        config.backbone, weights=config.backbone_weights, facet="token", seed=seed
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = create_eomt(config, vit)
    vit.set_input_size((config.image_size, config.image_size))
    network.load_state_dict({**network.state_dict(), **eomt_state(vit, config.backbone)})
    return network, identity


_CREATE = {
    "mask2former": _create_mask2former,
    "eomt": _create_eomt,
    CONDINST: create_condinst,
}


def _from_detectron2(path: Path) -> Segmenter:
    config, state = read_detectron2(path)
    with building(path, state_size(state)):
        network = create_mask2former(config)
    fit_detectron2(network, state, path)
    return Segmenter(network, config)


def _from_folder(folder: Path, about: Mapping[str, Any]) -> Segmenter:
    kind = read_json(folder / "config.json", _FIX).get("model_type")
    if not isinstance(kind, str) or kind not in (*NETWORKS, CONDINST):
        raise CheckpointError(f"{folder}: a model of type {kind!r}: {_FIX}")
    network = load_condinst(folder) if kind == CONDINST else load_network(NETWORKS[kind], folder)
    settings = _settings(network, kind, about, folder)
    with refusing(folder), torch.inference_mode():
        # Run a small image: the weights do not reveal every wrong setting.
        segmenter = Segmenter(network, settings).eval()
        if not 1 <= segmenter.multiple <= _MOST_MULTIPLE:
            raise ValueError(f"input sizes would be multiples of {segmenter.multiple} pixels")
        segmenter(torch.zeros(1, 3, segmenter.multiple, 2 * segmenter.multiple))
    return segmenter


def _settings(network: Any, kind: str, about: Mapping[str, Any], folder: Path) -> SegmenterConfig:
    """Return our settings from the folder, or else those derived from the network itself."""
    if "config" not in about:
        return config_of(network)
    try:
        # `image_size` was a setting of its own; it always was the short side.
        config = SegmenterConfig(**{k: v for k, v in about["config"].items() if k != "image_size"})
    except (TypeError, AttributeError, UsageError) as error:
        raise CheckpointError(f"{folder / ABOUT}: settings cannot be read ({error})") from error
    for name, value in asdict(config).items():
        if type(value) is not type(_EXAMPLE[name]) and value is not None:
            raise CheckpointError(f"{folder / ABOUT}: settings cannot be read: {name} is {value!r}")
    if config.architecture != kind or config.longest_side > _MOST_PIXELS:
        raise CheckpointError(
            f"{folder / ABOUT}: settings cannot be read: it describes {config.architecture} "
            f"with inputs of {config.longest_side} pixels, but config.json describes {kind}"
        )
    return config
