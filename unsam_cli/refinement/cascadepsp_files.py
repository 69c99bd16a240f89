"""Load CascadePSP: the network of the package `segmentation-refinement`, and its weights."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path

from torch import nn

from unsam_cli.backbones.checkpoints import check_fit, read_checkpoint
from unsam_cli.backbones.wrappers import unwrap
from unsam_cli.errors import UsageError, WeightsUnavailableError
from unsam_cli.io.files import file_identity
from unsam_cli.refinement.cascadepsp import CascadePsp
from unsam_cli.refinement.settings import NO_PACKAGE, RefineSettings

logger = logging.getLogger(__name__)

_FOLDER = Path("~/.segmentation-refinement")  # the package's own
_SUPERVISED = "trained with labels"


def load_cascadepsp(
    weights: str | None, settings: RefineSettings, *, device: str, batch_size: int
) -> tuple[CascadePsp, str]:
    """Load the network.

    Parameters
    ----------
    weights : str, optional
        A file of weights; by default that of the package, which downloads it once.
    settings : RefineSettings
        See :class:`~unsam_cli.refinement.cascadepsp.CascadePsp`.
    device : str
        Device of the network.
    batch_size : int
        Crops in a batch.

    Returns
    -------
    CascadePsp
        The network.
    str
        The identity of the weights for the history. It says that they were trained with labels.

    Raises
    ------
    UsageError
        The package is not installed.
    WeightsUnavailableError
        The weights do not exist, or cannot be downloaded.
    CheckpointError
        The weights are damaged or do not fit.
    """
    network = _create()
    path = _download() if weights is None else Path(weights)
    if not path.exists():
        raise WeightsUnavailableError(f"{path}: no such file; leave --weights out to download it")
    state = unwrap(read_checkpoint(path))
    check_fit(network.state_dict(), state, path, "give the weights of CascadePSP")
    network.load_state_dict(state)
    logger.warning("cascadepsp was %s: the refined masks are not label-free", _SUPERVISED)
    refiner = CascadePsp(network, settings, device, batch_size)
    return refiner, f"{file_identity(path)} ({_SUPERVISED})"


def _create() -> nn.Module:
    try:
        from segmentation_refinement.models.psp.pspnet import RefinementModule
    except ImportError as e:
        raise UsageError(NO_PACKAGE) from e
    network: nn.Module = RefinementModule()
    return network


def _download() -> Path:
    """Return the file of the package's own weights, which is downloaded if it does not exist."""
    from segmentation_refinement.download import download_and_or_check_model_file

    path = _FOLDER.expanduser() / "model"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr):  # it prints, and our output may be there
            download_and_or_check_model_file(str(path))
    except Exception as e:  # of the network, the disk, or its check of the file
        raise WeightsUnavailableError(
            f"{path}: cannot be downloaded ({type(e).__name__}); give --weights FILE"
        ) from e
    return path
