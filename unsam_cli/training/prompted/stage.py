"""All of ``unsam finetune-sam``: from masks, images and a SAM to a model folder."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from unsam_cli.convert.union import union
from unsam_cli.errors import UsageError
from unsam_cli.io.files import file_identity
from unsam_cli.io.scratch import scratch, scratch_folder
from unsam_cli.run.inputs import STDIN, local_file
from unsam_cli.run.replacing import files_of, refuse_replacing
from unsam_cli.sam.loading import load_promptable, with_parts
from unsam_cli.sam.lora import add_lora
from unsam_cli.sam.model import trainable
from unsam_cli.sam.promptable import Promptable
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.prompted.embeddings import KeptEmbeddings
from unsam_cli.training.prompted.samples import PromptedSamples
from unsam_cli.training.prompted.settings import PromptSettings, TuneInputs, TuneSettings
from unsam_cli.training.prompted.task import PromptedTask
from unsam_cli.training.prompted.validation import PromptedValidation
from unsam_cli.training.recipe import DataSettings, ParameterSettings
from unsam_cli.training.settings import TrainerSettings, TrainingRun
from unsam_cli.training.skipped import as_skipped
from unsam_cli.training.trainer import train


def finetune_sam(
    inputs: TuneInputs,
    tune: TuneSettings,
    prompts: PromptSettings,
    parameters: ParameterSettings,
    trainer: TrainerSettings,
    run: TrainingRun,
) -> int:
    """Fine-tune a promptable model and write it to the folder of `run`.

    Parameters
    ----------
    inputs : TuneInputs
        Input files.
    tune : TuneSettings
        Parts to add, and parts to train.
    prompts : PromptSettings
        Prompts and losses.
    parameters, trainer, run : ParameterSettings, TrainerSettings, TrainingRun
        Optimizer, training loop, and output folder.

    Returns
    -------
    int
        Exit code: 0, or 3 if images were skipped.

    Raises
    ------
    UnsamError
        An input is missing or invalid, or the training cannot continue.
    """
    _check(inputs, tune)
    with ExitStack() as stack:
        paths = [stack.enter_context(local_file(name)) for name in inputs.annotations]
        identities = {f"annotations-{i}": file_identity(p) for i, p in enumerate(paths, start=1)}
        validation = None
        if inputs.validate is not None:
            truth = stack.enter_context(local_file(inputs.validate))
            validation = PromptedValidation(
                truth,
                inputs.validate_images or inputs.images,
                crowds=prompts.crowds,
                on_error=prompts.on_error,
            )
            identities["validate"] = file_identity(truth)
        else:
            trainer = replace(trainer, validate_every=0)
        if inputs.ground_truth is not None:
            truth = stack.enter_context(local_file(inputs.ground_truth))
            identities["ground-truth"] = file_identity(truth)
            joined = stack.enter_context(scratch_folder("the joined annotations")) / "union.json"
            with scratch("the joined annotations"):
                joint = union(
                    truth,
                    paths[0],
                    max_iou=inputs.union_iou,
                    output=str(joined),
                    on_error=prompts.on_error,
                    errors="-",
                )
            paths = [joined]
            run = replace(run, skipped=as_skipped(joint.skipped))
        data = DataSettings(
            max_masks=prompts.max_masks, crowds=prompts.crowds, on_error=prompts.on_error
        )
        images = AnnotatedImages(paths, inputs.images, data)
        refuse_replacing(files_of(str(run.folder)), images.paths())
        model = load_promptable(inputs.checkpoint)
        if not model.boxes:
            _check_clicks_only(tune, prompts)
        kept = None
        if inputs.features is not None:
            kept = KeptEmbeddings(inputs.features, model)
            identities["features"] = kept.identity
        step = run.step.with_inputs(**identities, weights=model.identity)
        model = _prepared(model, tune, trainer.seed)
        square = model.family == "sam2"
        samples = PromptedSamples(images, model.side, square, tune.parts, prompts, kept)
        task = PromptedTask(
            model,
            samples,
            parameters,
            validation=validation,
            history=[*images.history, *model.history, step.to_json()],
        )
        run = replace(run, step=step, skipped=[*run.skipped, *images.strays])
        return train(task, trainer, run)


def _check(inputs: TuneInputs, tune: TuneSettings) -> None:
    names = [*inputs.annotations, inputs.ground_truth, inputs.validate]
    if names.count(STDIN) > 1:
        raise UsageError("only one file can be read from standard input")
    if inputs.ground_truth is not None and len(inputs.annotations) > 1:
        raise UsageError(
            "--ground-truth needs exactly one annotations file, with the same image ids; "
            "join several files with unsam merge"
        )
    if inputs.features is not None and tune.encoder_learns:
        raise UsageError(
            "--features needs a frozen image encoder; use --train decoder, or --lora-in decoder"
        )


def _check_clicks_only(tune: TuneSettings, prompts: PromptSettings) -> None:
    """Refuse what UnSAM's promptable model has no part for."""
    for given, option in (
        (prompts.boxes > 0, "--boxes"),
        (prompts.corrections > 0, "--corrections"),
        (tune.train == "lora", "--train lora"),
    ):
        if given:
            raise UsageError(
                f"{option} is for SAM; UnSAM's promptable model learns from single clicks: give "
                "--preset paper, or --train decoder, --boxes 0 and --corrections 0"
            )


def _prepared(model: Promptable, tune: TuneSettings, seed: int) -> Promptable:
    """Add new parts and adapters, and freeze all weights that are not trained."""
    model = with_parts(model, tune.parts, seed=seed)
    if tune.train == "lora":
        add_lora(model.network, rank=tune.lora_rank, where=tune.lora_in, seed=seed)
    trainable(model, tune.train)
    return model
