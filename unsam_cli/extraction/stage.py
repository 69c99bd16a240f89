"""The whole of ``unsam extract-features``: images in, a features file out."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from unsam_cli import __version__
from unsam_cli.backbones import Backbone, create_backbone
from unsam_cli.backbones.registry import PROMPTABLE, usual_size
from unsam_cli.errors import UsageError
from unsam_cli.extraction.meter import Meter
from unsam_cli.extraction.pipeline import extract
from unsam_cli.extraction.plan import Regions
from unsam_cli.extraction.settings import BackboneSettings, ExtractSettings, PlanSettings
from unsam_cli.io.features import FeatureAttributes
from unsam_cli.io.left_out import LeftOut
from unsam_cli.io.masks import MasksFile, read_masks
from unsam_cli.run.feature_sink import FeatureSink
from unsam_cli.run.image_list import same_images, tell_others
from unsam_cli.run.inputs import (
    STDIN,
    ImageQuery,
    images_of,
    local_file,
    name_of,
)
from unsam_cli.run.items import ImageItem
from unsam_cli.run.provenance import checksum
from unsam_cli.run.runner import run_items
from unsam_cli.run.settings import Compute, RunSettings

logger = logging.getLogger(__name__)


def extract_features(
    query: ImageQuery,
    network: BackboneSettings,
    settings: ExtractSettings,
    compute: Compute,
    run: RunSettings,
    *,
    regions: str | None = None,
) -> int:
    """Extract the features of images and write them as `run` says.

    Parameters
    ----------
    query : ImageQuery
        The images.
    network : BackboneSettings
        The network.
    settings : ExtractSettings
        Records and their sizes.
    compute : Compute
        Device that the network runs on.
    run : RunSettings
        Output and the other settings that all commands share.
    regions : str, optional
        Masks file, or ``-`` for standard input. Each mask becomes a record.

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
    with ExitStack() as stack:
        masks = None
        if regions is not None:
            path = stack.enter_context(local_file(regions))
            masks = read_masks(path, name=name_of(regions), on_error=run.on_error)
            same_images(items, masks.names, name_of(regions))
            tell_others(items, masks.counts(), name_of(regions))
        backbone = _create(network, settings, compute, masks, run.seed)
        sink = _open_sink(backbone, settings, run, masks)
        meter = Meter()
        work = partial(
            extract,
            backbone=backbone,
            settings=settings,
            batch_size=compute.batch_size,
            jobs=run.jobs,
            regions=None if masks is None else partial(_regions_of, masks=masks),
            records=sink.spooled,
            meter=meter,
        )
        content = partial(_content, masks=masks)
        given = [] if regions in (None, STDIN) else [Path(str(regions))]

        def sources(item: ImageItem) -> list[Path]:
            return [item.path, *given]

        def left_out(item: ImageItem) -> list[LeftOut]:
            return [] if masks is None else masks.left_out.of(item.id)

        code = run_items(
            items,
            work,
            sink,
            run,
            content=content,
            sources=sources,
            left_out=left_out,
            strays=() if masks is None else masks.strays,
        )
        _report_speed(backbone, meter, compute)
        return code


def _content(item: ImageItem, *, masks: MasksFile | None) -> int | None:
    """Return a checksum of an image and its regions."""
    return checksum(item.path, 0 if masks is None else masks.checksum(item.id))


def _regions_of(item: ImageItem, *, masks: MasksFile) -> Regions:
    found = masks.annotations_of(item.id)
    return [(a.segmentation, 1.0 if a.score is None else a.score) for a in found]


def _create(
    network: BackboneSettings,
    settings: ExtractSettings,
    compute: Compute,
    masks: MasksFile | None,
    seed: int,
) -> Backbone:
    if network.backbone != PROMPTABLE:
        return create_backbone(
            network.backbone,
            weights=network.weights,
            facet=network.facet,
            layer=network.layer,
            device=compute.device,
            dtype=compute.dtype,
            seed=seed,
        )
    if network.weights is None:
        raise UsageError(
            "--backbone sam needs a checkpoint: give a file, folder or hub id as --weights"
        )
    chosen = (settings.plan, settings.rank, network.facet, network.layer)
    usual = (PlanSettings(size=usual_size(PROMPTABLE)), 0, "key", -1)
    if masks is not None or chosen != usual:
        raise UsageError(
            "--backbone sam extracts image embeddings for its mask decoder: remove "
            "--regions, --size, --square, --region-size, --tile, --overlap, --project, --facet "
            "and --layer"
        )
    from unsam_cli.sam.encoder import create_promptable

    return create_promptable(network.weights, device=compute.device, dtype=compute.dtype)


def _open_sink(
    backbone: Backbone, settings: ExtractSettings, run: RunSettings, masks: MasksFile | None
) -> FeatureSink:
    run = run.with_inputs(weights=backbone.weights)

    def attributes(history: list[dict[str, Any]]) -> FeatureAttributes:
        return FeatureAttributes(
            backbone=backbone.name,
            weights=backbone.weights,
            facet=backbone.facet,
            layer=backbone.layer,
            patch_size=backbone.patch_size,
            dim=settings.rank or backbone.dim,
            project=settings.rank,
            seed=run.seed,
            command=run.step.command_line(),
            unsam_version=__version__,
            history=history,
        )

    history = [] if masks is None else masks.info.get("unsam", {}).get("history", [])
    return FeatureSink(run, history, attributes=attributes, dtype=settings.storage_dtype)


def _report_speed(backbone: Backbone, meter: Meter, compute: Compute) -> None:
    """With ``-v``, log the speed of the network relative to the machine's."""
    if not logger.isEnabledFor(logging.INFO) or not meter.seconds:
        return
    text = f"{meter.crops / meter.seconds:.3g} crops/s in the backbone"
    if meter.flops:
        from unsam_cli.backbones.speed import matmul_rate

        rate = matmul_rate(compute.dtype, compute.device)
        text += f", {meter.fraction_of(rate):.0%} of the matmul rate of {rate / 1e9:.0f} GFLOP/s"
    logger.info(text)
