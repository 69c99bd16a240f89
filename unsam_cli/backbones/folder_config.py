"""The configuration of a model folder of transformers, which is not trusted.

It is used to build a network, without the settings that make transformers ask the hub or run code.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub.constants
from torch.nn.modules import module as torch_modules
from transformers.utils import logging as transformers_logging

from unsam_cli.errors import CheckpointError, UnsamError
from unsam_cli.io.files import refuse_special

_LEFT_OUT = (
    "attn_implementation",
    "_attn_implementation",
    "auto_map",
    "custom_pipelines",
    "distributed_config",
    "dtype",
    "fusion_config",
    "quantization_config",
    "torch_dtype",
    "transformers_weights",
    "use_pretrained_backbone",
)
"""Settings of loading and computing that are ignored: some would fetch code from the hub."""
_MOST = 10**6
"""Maximum of all sides, widths and counts; lists of so many names still fit into memory."""
_SLACK = 10**7
"""Allowance for parts that are built and dropped again, such as timm's classifiers."""
_MODULES = 50
"""Maximum number of modules per parameter."""


def read_config(config_class: Any, folder: Path) -> Any:
    """Read the configuration of a model folder.

    Parameters
    ----------
    config_class : type
        Configuration class of transformers.
    folder : Path
        Folder with ``config.json``.

    Raises
    ------
    CheckpointError
        It is missing or invalid, or refers to a backbone whose configuration it does not include.
    """
    path = folder / "config.json"
    return make_config(config_class, read_json(path, "copy the whole folder"), path)


def make_config(config_class: Any, content: Mapping[str, Any], path: Path) -> Any:
    """Create a configuration from the content of the file `path`; see :func:`read_config`."""
    cleaned = _clean(dict(content), path, "")
    with refusing(path), quiet(), offline():
        return config_class.from_dict(cleaned)


def read_any_config(folder: Path) -> Any:
    """Read the configuration of a folder of any model of transformers; see `read_config`."""
    from transformers import CONFIG_MAPPING

    path = folder / "config.json"
    content = read_json(path, "copy the whole folder")
    with refusing(path):
        config_class = CONFIG_MAPPING[content["model_type"]]
    return make_config(config_class, content, path)


def _clean(value: Any, path: Path, name: str) -> Any:
    """Remove ignored settings, and refuse values that no network can have."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in _LEFT_OUT}
        if isinstance(kept.get("backbone"), str) or kept.get("model_type") == "timm_backbone":
            kept = _with_backbone(kept, path)
        return {k: _clean(v, path, f"{name}.{k}".lstrip(".")) for k, v in kept.items()}
    if isinstance(value, list):
        return [_clean(v, path, f"{name}.{i}") for i, v in enumerate(value)]
    if isinstance(value, int) and abs(value) > _MOST:
        raise CheckpointError(
            f"{path}: {name} is {_short(value)}, which is too large for any network"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise CheckpointError(
            f"{path}: {name} is {value}, which is not a valid number for a network"
        )
    return value


def _with_backbone(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Make sure that a backbone given by name is one of timm's, which needs no hub."""
    name = content.get("backbone")
    if content.get("model_type") != "timm_backbone" and content.get("backbone_config") is not None:
        return content | {"backbone": None}
    import timm

    if not isinstance(name, str) or not timm.is_model(name):
        raise CheckpointError(
            f"{path}: refers to the backbone {_short(name)}, whose configuration is not in "
            "the folder, and folders are opened offline: save the model again with "
            "save_pretrained of transformers, which also writes the backbone's "
            "configuration"
        )
    if content.get("model_type") == "timm_backbone":
        return content
    options = content.get("backbone_kwargs")
    described = {**(options if isinstance(options, dict) else {}), "backbone": name}
    described["model_type"] = "timm_backbone"
    return content | {"backbone": None, "backbone_kwargs": None, "backbone_config": described}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@contextlib.contextmanager
def refusing(source: Path) -> Iterator[None]:
    """Turn any error of transformers or timm about a configuration into a `CheckpointError`."""
    try:
        yield
    except (UnsamError, MemoryError):
        raise
    # Their documentation does not say which errors wrong values raise.
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"{source}: cannot build this network ({text}): its configuration is damaged or "
            "written by another program: download it again"
        ) from error


@contextlib.contextmanager
def building(source: Path, size: int) -> Iterator[None]:
    """Context to build a network offline from the file `source`, which is not trusted.

    Raises
    ------
    CheckpointError
        The configuration is invalid, or the network too large for weights of `size` bytes.
    """
    with refusing(source), quiet(), offline(), at_most(2 * size + _SLACK):
        yield


@contextlib.contextmanager
def at_most(numbers: int) -> Iterator[None]:
    """Context in which building a network of more than `numbers` values raises ValueError.

    A short configuration can ask for more layers than there is memory or time for.
    """
    asked = {"numbers": 0, "parameters": 10, "modules": 0}

    def count_parameter(_: Any, name: str, parameter: Any) -> None:
        asked["parameters"] += 1
        asked["numbers"] += 0 if parameter is None else parameter.numel()
        if asked["numbers"] > numbers:
            raise ValueError(
                f"it would have more than the {numbers} values that its files can hold"
            )

    def count_module(_: Any, name: str, module: Any) -> None:
        asked["modules"] += 1
        if asked["modules"] > _MODULES * asked["parameters"]:
            raise ValueError("its number of layers is unlimited")

    hooks = [
        torch_modules.register_module_parameter_registration_hook(count_parameter),
        torch_modules.register_module_module_registration_hook(count_module),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Context in which the hub's client makes no requests, whatever the environment says."""
    constants: Any = huggingface_hub.constants
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def read_about(path: Path, version: int) -> dict[str, Any]:
    """Read the ``unsam.json`` of a model folder; without one, the history is empty.

    Raises
    ------
    CheckpointError
        It is damaged, or has another version than `version`.
    """
    if not path.exists():
        return {"history": []}
    about = {"history": [], "version": version, **read_json(path, "copy the whole folder")}
    if about["version"] != version:
        raise CheckpointError(
            f"{path}: has version {_short(about['version'])}, but this program reads "
            f"version {version}"
        )
    steps = about["history"]
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise CheckpointError(
            f"{path}: its history is not a list of steps: download or copy it again"
        )
    return about


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file of a model folder."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path, fix: str) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises
    ------
    CheckpointError
        The file is missing (the message ends with `fix`), damaged, or not a JSON object.
    """
    refuse_special(path, CheckpointError)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file: {fix}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}): download or copy it again"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a JSON object: download or copy it again")
    return content


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context in which transformers shows no progress bars and logs errors only."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
