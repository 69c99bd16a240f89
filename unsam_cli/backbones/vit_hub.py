"""Weights from the Hugging Face hub, or from its cache without asking the hub."""

from __future__ import annotations

import logging
from pathlib import Path

import timm

from unsam_cli.errors import WeightsUnavailableError

logger = logging.getLogger(__name__)

_FILES = ("model.safetensors", "pytorch_model.bin")
_PROBE_SECONDS = 5.0


def fetch_weights(name: str, repository: str | None) -> tuple[Path, str]:
    """Return a weights file of the hub, downloaded unless it is in the cache.

    Parameters
    ----------
    name : str
        The timm model.
    repository : str, optional
        ``owner/name`` or ``owner/name@revision``; by default the one timm knows for the model.

    Returns
    -------
    path : Path
    identity : str
        ``hf-hub:owner/name@commit``.

    Raises
    ------
    WeightsUnavailableError
        There are none, or they are neither in the cache nor to be had from here.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    repository, files = _locate(name, repository)
    repo_id, _, revision = repository.partition("@")
    for file in files:
        cached = try_to_load_from_cache(repo_id, file, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached), _identity(repo_id, Path(cached))
    try:
        _probe()
        for file in files:
            try:
                path = Path(hf_hub_download(repo_id, file, revision=revision or None))
            except EntryNotFoundError:
                continue
            return path, _identity(repo_id, path)
        reason = f"it has none of {', '.join(files)}"
    # Hub and HTTP libraries raise classes of their own, which changed between versions.
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise _unavailable(name, repo_id, reason) from error
    raise _unavailable(name, repo_id, reason)


def _locate(name: str, repository: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the repository and the names that its weights may have."""
    if repository is not None:
        return repository, _FILES
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise WeightsUnavailableError(
            f"no pretrained weights are published for {name}: give --weights FILE, or use "
            "--backbone builtin, which needs none"
        )
    return config.hf_hub_id, (config.hf_hub_filename,) if config.hf_hub_filename else _FILES


def _probe() -> None:
    """Raise within seconds where the hub is out of reach; its client would retry for a minute."""
    from huggingface_hub import constants, get_session

    get_session().head(constants.ENDPOINT, timeout=_PROBE_SECONDS)


def _identity(repo_id: str, path: Path) -> str:
    """Name a file of the hub's cache, ``.../snapshots/COMMIT/FILE``."""
    return f"hf-hub:{repo_id}@{path.parent.name[:12]}"


def _unavailable(name: str, repo_id: str, reason: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(
        f"weights of {name} are not in the cache and cannot be downloaded ({reason}): run "
        f"`huggingface-cli download {repo_id}` where there is a network and copy HF_HOME, or give "
        "--weights FILE, or use --backbone builtin, which needs none"
    )
