"""Weights from the Hugging Face hub, or from its cache without a request to the hub."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from unsam_cli.errors import MissingInputError, UsageError, WeightsUnavailableError

logger = logging.getLogger(__name__)

RANDOM = "random"
"""Name of random weights, in the place of a checkpoint."""
_FILES = ("model.safetensors", "pytorch_model.bin")
_FOLDER = ("config.json", "unsam.json", "*.safetensors", "*.safetensors.index.json")
_PREFIXES = ("hf-hub:", "hf_hub:")
_WORD = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")
_LONGEST_ID = 96
_FIX = "give a file of weights; the backbone builtin of extract-features needs none"
_PROBE_SECONDS = 5.0
SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".npz", ".pkl")
"""Suffixes of files of weights."""


def hub_id(text: str) -> str | None:
    """Return the hub id in a text, ``owner/name`` or ``owner/name@revision``, or None.

    A text with the suffix of a file of weights is a path, not a hub id, unless it begins with
    ``hf-hub:``.

    Raises
    ------
    UsageError
        The text begins with ``hf-hub:``, but the rest is not a valid hub id.
    """
    for prefix in _PREFIXES:
        if text.startswith(prefix):
            repository = text.removeprefix(prefix)
            if not _is_id(repository):
                raise UsageError(f"{text!r} is not a hub id: write {prefix}OWNER/NAME")
            return repository
    return text if _is_id(text) and Path(text).suffix not in SUFFIXES else None


def _is_id(text: str) -> bool:
    """Return whether a text has the form of a hub id; the hub refuses all others."""
    repository, at, revision = text.partition("@")
    words = repository.split("/")
    return (
        len(words) == 2
        and len(repository) <= _LONGEST_ID
        and all(_WORD.fullmatch(word) for word in words)
        and "--" not in repository
        and ".." not in repository
        and not repository.endswith(".git")
        and bool(revision) == bool(at)
    )


def find_source(name: str, weights: str | None) -> Path | str | None:
    """Find the weights of a model.

    Parameters
    ----------
    name : str
        Name of the model, for the message.
    weights : str or None
        A file, a folder in the format of the hub, a hub id, ``random`` or None. Existing files and
        folders have precedence over hub ids.

    Returns
    -------
    Path, str or None
        A file, a hub repository, or None for ``random`` and for the model's own repository.

    Raises
    ------
    MissingInputError
        The file does not exist, or the folder has no weights.
    """
    if weights is None or weights == RANDOM:
        return None
    path = Path(weights)
    if path.is_file():
        return path
    if path.is_dir():
        for file in _FILES:
            if (path / file).is_file():
                return path / file
        raise MissingInputError(
            f"{weights}: a folder without {' or '.join(_FILES)}: give the file itself"
        )
    repository = hub_id(weights)
    if repository is None:
        raise MissingInputError(
            f"weights {weights!r} for {name} do not exist: give a checkpoint file, or a hub id "
            "like timm/vit_base_patch8_224.dino"
        )
    return repository


def fetch_weights(name: str, repository: str | None, *, fix: str = _FIX) -> tuple[Path, str]:
    """Return a weights file of the hub; download it unless it is in the cache.

    Parameters
    ----------
    name : str
        Name of the timm model.
    repository : str or None
        ``owner/name`` or ``owner/name@revision``; None is the one that timm lists for the model.
    fix : str
        What else a user can do; the end of the message.

    Returns
    -------
    path : Path
        File in the cache.
    identity : str
        ``hf-hub:owner/name@commit``.

    Raises
    ------
    WeightsUnavailableError
        No weights are published, or they are neither in the cache nor can be downloaded.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    repository, files = _locate(name, repository, fix)
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
    # Hub and HTTP libraries raise their own classes, which change between versions.
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise _unavailable(name, repo_id, reason, fix) from error
    raise _unavailable(name, repo_id, reason, fix)


def fetch_folder(repository: str, *, fix: str) -> tuple[Path, str]:
    """Return a model folder of the hub; download it unless it is in the cache.

    Parameters
    ----------
    repository : str
        ``owner/name`` or ``owner/name@revision``.
    fix : str
        What else a user can do; the end of the message.

    Returns
    -------
    folder : Path
        Folder in the cache with the model's configuration and weights.
    identity : str
        ``hf-hub:owner/name@commit``.

    Raises
    ------
    WeightsUnavailableError
        It is neither in the cache nor can it be downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repo_id, _, revision = repository.partition("@")

    def snapshot(patterns: list[str], *, cached: bool) -> Path:
        found = snapshot_download(
            repo_id, revision=revision or None, allow_patterns=patterns, local_files_only=cached
        )
        return Path(found)

    try:
        folder = snapshot([*_FOLDER, "*.bin"], cached=True)
        if any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")):
            return folder, _identity(repo_id, folder / "config.json")
    except LocalEntryNotFoundError:
        pass
    try:
        _probe()
        folder = snapshot(list(_FOLDER), cached=False)
        if not any(folder.glob("*.safetensors")):
            folder = snapshot(["*.bin"], cached=False)
    # Hub and HTTP libraries raise classes of their own, which changed between versions.
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise _unavailable(repo_id, repo_id, reason, fix) from error
    return folder, _identity(repo_id, folder / "config.json")


def _locate(name: str, repository: str | None, fix: str) -> tuple[str, tuple[str, ...]]:
    """Return the repository and the file names that its weights may have."""
    if repository is not None:
        return repository, _FILES
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise WeightsUnavailableError(f"no pretrained weights are published for {name}: {fix}")
    return config.hf_hub_id, (config.hf_hub_filename,) if config.hf_hub_filename else _FILES


def _probe() -> None:
    """Raise within seconds if the hub cannot be reached; its client would retry for a minute."""
    from huggingface_hub import constants, get_session

    get_session().head(constants.ENDPOINT, timeout=_PROBE_SECONDS)


def _identity(repo_id: str, path: Path) -> str:
    """Return the identity of a file of the hub's cache, ``.../snapshots/COMMIT/FILE``."""
    return f"hf-hub:{repo_id}@{path.parent.name[:12]}"


def _unavailable(name: str, repo_id: str, reason: str, fix: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(
        f"weights of {name} are not in the cache and cannot be downloaded ({reason}): run "
        f"`hf download {repo_id}` on a machine with a network and copy "
        f"HF_HOME, or {fix}"
    )
