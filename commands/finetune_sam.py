"""unsam finetune-sam ANNOTATIONS.json... --images DIR --checkpoint SAM -o RUN"""  # noqa: D400

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from unsam_cli import options, train_options
from unsam_cli.options import option
from unsam_cli.sam.settings import MOST_MASKS, SAM_MASKS
from unsam_cli.train_log import training_reporter_factory
from unsam_cli.training.prompted_settings import DEFAULT, PRESETS, PromptSettings, TuneSettings

FOLDER = click.Path(file_okay=False, path_type=Path)
FRACTION, POSITIVE, FROM_ZERO = click.FloatRange(0, 1), click.IntRange(1), click.IntRange(0)

network = partial(option, group="Network")
sample = partial(option, group="Samples")
losses = partial(option, group="Losses")

tune_options = options.bundle(
    "tune", TuneSettings,
    network("--masks-per-prompt", type=click.IntRange(SAM_MASKS, MOST_MASKS), default=SAM_MASKS,
            help="Answers to a click; UnSAM has 6."),
    network("--granularity", is_flag=True,
            help="Learn, too, to answer with the mask of a given granularity."),
    network("--train", type=click.Choice(["decoder", "lora", "all"]), default="decoder",
            help="What learns beside new parts: the mask decoder, low-rank adapters of attention, "
            "everything."),
    network("--lora-rank", type=POSITIVE, default=8, help="Of the adapters."),
    network("--lora-in", type=click.Choice(["decoder", "both"]), default="both",
            help="Adapters in the mask decoder, or in the image encoder, too."),
)  # fmt: skip
prompt_options = options.bundle(
    "prompts", PromptSettings,
    sample("--clicks", type=POSITIVE, default=60, help="Prompts of an image."),
    sample("--boxes", type=FRACTION, default=0.0,
           help="Fraction of prompts that are boxes instead of clicks."),
    sample("--corrections", type=FROM_ZERO, default=0,
           help="Most further clicks of a prompt, each where the answer was wrong."),
    sample("--single-mask", is_flag=True,
           help="Only the clicked mask is right, as in SAM, not all that contain the click."),
    sample("--flip", type=FRACTION, default=0.5,
           help="Probability of mirroring; none with --features."),
    sample("--max-masks", type=FROM_ZERO, default=0,
           help="Most masks of an image, drawn at random; 0 takes all."),
    losses("--mask-loss", type=click.Choice(["bce", "focal"]), default="bce",
           help="Of pixels, beside the dice loss: weights 5 and 5, or 20 and 1."),
    losses("--points", type=POSITIVE, default=12544, help="Pixels at which masks are compared."),
    option("--chunk", type=POSITIVE, default=16, group="Compute",
           help="Prompts that are answered together: memory grows with it."),
    options.on_error_option,
)  # fmt: skip


@options.command("finetune-sam", "Fine-tune SAM on masks of all granularities.")
@click.argument("annotations", nargs=-1, required=True, metavar="ANNOTATIONS.json...")
@options.run_option("--images", type=FOLDER, required=True, group="Input", help="Their folder.")
@options.files_option(
    "--checkpoint", required=True, metavar="SAM",
    help="A folder or hub id of SAM or SAM 2, an original checkpoint, or an earlier run.",
)  # fmt: skip
@options.files_option("--ground-truth", metavar="GT.json", help="Learn these masks, too (UnSAM+).")
@option(
    "--union-iou", type=FRACTION, default=0.02, group="Input",
    help="With --ground-truth: highest IoU with it that a mask of ANNOTATIONS may have.",
)  # fmt: skip
@options.files_option(
    "--features", type=click.Path(path_type=Path), metavar="FEATURES.h5",
    help="What the frozen image encoder sees, from extract-features --backbone sam: not run here.",
)  # fmt: skip
@options.files_option("--validate", metavar="GT.json", help="Measure on these; keep the best.")
@options.run_option(
    "--validate-images", type=FOLDER, group="Input",
    help="Folder of the images of --validate.  [default: --images]",
)  # fmt: skip
@train_options.preset_option(PRESETS, DEFAULT)
@tune_options
@prompt_options
@train_options.trainer_options
@train_options.weight_options
@train_options.folder_options
def command(output: Path, resume: bool, **chosen: Any) -> int:
    """Fine-tune a promptable segmenter on masks and their parts, such as those of conquer.

    Reads COCO files and their images; writes a model folder, which predict opens, and Hugging Face
    if no parts were added to the network.

    \b
      unsam finetune-sam masks.json --images photos --checkpoint facebook/sam-vit-base -o run
      unsam finetune-sam masks.json --images photos --checkpoint sam2 --granularity -o run
      unsam finetune-sam masks.json --images photos --checkpoint sam --preset paper -o run
    """
    from unsam_cli.training.prompted_stage import TuneInputs, finetune_sam

    context = click.get_current_context()
    settings = [chosen.pop(key) for key in ("tune", "prompts", "parameters", "trainer")]
    if chosen["ground_truth"] is None:
        options.refuse_idle(context, {"union_iou": "--ground-truth"})
    if settings[0].train != "lora":
        options.refuse_idle(context, dict.fromkeys(["lora_rank", "lora_in"], "--train lora"))
    return finetune_sam(
        TuneInputs(**chosen),
        *settings,
        folder=output,
        step=options.step_of(context),
        resume=resume,
        report=training_reporter_factory(plain=context.find_root().meta["unsam.plain"]),
    )
