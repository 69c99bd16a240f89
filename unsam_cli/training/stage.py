"""All of ``unsam train``: from masks and images to a model folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from unsam_cli.errors import UsageError
from unsam_cli.io.files import file_identity
from unsam_cli.models.loading import create_segmenter, load_segmenter
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.settings import SegmenterConfig
from unsam_cli.run.inputs import STDIN, local_file
from unsam_cli.run.replacing import files_of, refuse_replacing
from unsam_cli.training.checks import check_queries, check_random_weights
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.recipe import Recipe
from unsam_cli.training.settings import TrainerSettings, TrainingRun, TrainInputs
from unsam_cli.training.trainer import train
from unsam_cli.training.validation import WholeImageValidation
from unsam_cli.training.whole_image import WholeImageTask

logger = logging.getLogger(__name__)


def train_whole_image(
    inputs: TrainInputs,
    network: SegmenterConfig,
    recipe: Recipe,
    trainer: TrainerSettings,
    run: TrainingRun,
    *,
    checkpointing: bool = False,
) -> int:
    """Train a segmenter and write it to the folder of `run`.

    Parameters
    ----------
    inputs : TrainInputs
        Input files.
    network : SegmenterConfig
        Network to create; ignored if ``inputs.init`` is given.
    recipe, trainer, run : Recipe, TrainerSettings, TrainingRun
        Samples and losses, training loop, and output folder.
    checkpointing : bool
        Recompute activations in the backward pass instead of keeping them.

    Returns
    -------
    int
        Exit code: 0, or 3 if images were skipped.

    Raises
    ------
    UnsamError
        An input is missing or invalid, or the training cannot continue.
    """
    if list(inputs.annotations).count(STDIN) + (inputs.validate == STDIN) > 1:
        raise UsageError("only one file can be read from standard input")
    with ExitStack() as stack:
        paths = [stack.enter_context(local_file(name)) for name in inputs.annotations]
        validation, identities = None, _identities("annotations", paths)
        if inputs.validate is not None:
            truth = stack.enter_context(local_file(inputs.validate))
            validation = WholeImageValidation(
                truth,
                inputs.validate_images or inputs.images,
                crowds=recipe.data.crowds,
                on_error=recipe.data.on_error,
            )
            identities |= _identities("validate", [truth])
        else:
            trainer = replace(trainer, validate_every=0)
        images = AnnotatedImages(paths, inputs.images, recipe.data)
        refuse_replacing(files_of(str(run.folder)), images.paths())
        _tell(images, recipe)
        segmenter = _segmenter(inputs.init, network, trainer.seed)
        check_queries(segmenter, recipe.data)
        segmenter.checkpointing = checkpointing
        step = run.step
        if inputs.init is not None:
            step = step.with_options(asdict(segmenter.config))  # not those of the command line
        step = step.with_inputs(**identities, weights=segmenter.identity)
        recipe = replace(recipe, data=replace(recipe.data, scale=segmenter.config.scale))
        task = WholeImageTask(
            segmenter,
            images,
            recipe,
            validation=validation,
            history=[*images.history, *segmenter.history, step.to_json()],
        )
        return train(task, trainer, replace(run, step=step, skipped=images.strays))


def _segmenter(init: str | None, network: SegmenterConfig, seed: int) -> Segmenter:
    if init is not None:
        return load_segmenter(init)
    segmenter = create_segmenter(network, seed=seed)
    check_random_weights(segmenter)
    return segmenter


def _tell(images: AnnotatedImages, recipe: Recipe) -> None:
    """Log what is done with images without masks."""
    if images.without_masks:
        fate = "left out" if recipe.data.empty_images == "skip" else "used as background"
        logger.warning(
            "images without masks: %d, %s; --empty-images decides", images.without_masks, fate
        )


def _identities(name: str, paths: Sequence[Path]) -> dict[str, Any]:
    return {f"{name}-{i}": file_identity(path) for i, path in enumerate(paths, start=1)}
