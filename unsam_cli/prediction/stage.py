"""The whole of ``unsam predict``: images and a checkpoint in, masks out."""

from __future__ import annotations

from functools import partial

from unsam_cli.backbones import accelerator
from unsam_cli.found_masks import FoundMasks, annotate
from unsam_cli.models.loading import load_segmenter
from unsam_cli.prediction.pipeline import predict_images
from unsam_cli.prediction.predict import Predictor
from unsam_cli.prediction.settings import PredictCompute, PredictSettings
from unsam_cli.run.inputs import ImageQuery, images_of
from unsam_cli.run.items import ImageItem
from unsam_cli.run.provenance import checksum
from unsam_cli.run.runner import run_items
from unsam_cli.run.settings import RunSettings
from unsam_cli.run.sinks import MaskResult, MaskSink


def predict(
    checkpoint: str,
    query: ImageQuery,
    settings: PredictSettings,
    compute: PredictCompute,
    run: RunSettings,
) -> int:
    """Segment images with a whole-image segmenter and write the masks as `run` says.

    Parameters
    ----------
    checkpoint : str
        A folder, a file or a hub id, see :func:`~unsam_cli.models.loading.load_segmenter`.
    query : ImageQuery
        The images.
    settings : PredictSettings
        How to predict.
    compute : PredictCompute
        Device of the network, see :func:`~unsam_cli.backbones.accelerator`.
    run : RunSettings
        Output and the other settings that all commands share.

    Returns
    -------
    int
        The exit code, see :func:`~unsam_cli.run.runner.run_items`.

    Raises
    ------
    UnsamError
        An input is missing or invalid, or the output cannot be written.
    """
    items, run = images_of(query, run)
    segmenter = load_segmenter(checkpoint, accelerator(compute.device) or "cpu")
    run = run.with_inputs(checkpoint=segmenter.identity)
    sink = MaskSink(run, segmenter.history)
    predictor = Predictor(segmenter, settings)
    work = partial(predict_images, predictor=predictor, use=_to_result, jobs=run.jobs)
    return run_items(
        items,
        work,
        sink,
        run,
        content=lambda item: checksum(item.path),
        sources=lambda item: [item.path],
    )


def _to_result(item: ImageItem, masks: FoundMasks) -> MaskResult:
    return MaskResult(*masks.table.size, annotate(item.id, masks))
