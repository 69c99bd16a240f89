"""``unsam convert checkpoint``: weights of detectron2 into a model folder."""

from __future__ import annotations

from pathlib import Path

from unsam_cli.convert.formats import CHECKPOINT, Request
from unsam_cli.errors import CheckpointError, DataError, MissingInputError, UsageError
from unsam_cli.io.files import file_identity, refuse_special
from unsam_cli.run.output import STDOUT
from unsam_cli.run.provenance import Step
from unsam_cli.run.settings import RunSettings


def convert_weights(request: Request, run: RunSettings) -> int:
    """Convert a checkpoint of UnSAM, whole-image or promptable, to a model folder.

    Parameters
    ----------
    request : Request
        Gives the file.
    run : RunSettings
        Gives the output and whether it may be replaced.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    UsageError
        The output is not a folder, or it exists and must not be replaced.
    DataError
        The source is a folder.
    MissingInputError
        The file does not exist.
    CheckpointError
        The file is damaged, incomplete or not a checkpoint.
    OutputError
        The folder cannot be written.
    """
    if run.output == STDOUT:
        raise UsageError("the output of a checkpoint is a folder: give -o DIR")
    if run.no_clobber and Path(run.output).exists():
        raise UsageError(f"{run.output}: exists, and --no-clobber was given")
    source = Path(request.source)
    refuse_special(source, CheckpointError)
    if source.is_dir():
        raise DataError(f"{source}: is a folder; give a checkpoint of UnSAM (.pth)")
    if not source.is_file():
        raise MissingInputError(f"{source}: no such file: give a checkpoint of UnSAM (.pth)")
    from unsam_cli.backbones.checkpoints import read_checkpoint
    from unsam_cli.models.folders import publish_folder
    from unsam_cli.models.loading import convert_checkpoint
    from unsam_cli.sam.loading import load_promptable, save_promptable
    from unsam_cli.sam.semantic.files import is_semantic

    step = Step("convert", {"format": CHECKPOINT}, {"source": file_identity(source)})
    history, folder = [step.to_json()], Path(run.output)
    if is_semantic(read_checkpoint(source)):
        model = load_promptable(str(source))
        publish_folder(folder, lambda part: save_promptable(model, part, history=history))
    else:
        convert_checkpoint(source, folder, history=history)
    return 0
