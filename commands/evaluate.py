"""unsam evaluate GROUND_TRUTH.json PREDICTIONS.json... [-o REPORT.json]"""  # noqa: D400

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from unsam_cli import options
from unsam_cli.errors import EXIT_SKIPPED
from unsam_cli.log import reporter_factory
from unsam_cli.run.resources import usable_cpus
from unsam_cli.run.shards import parse_shard

PATH = click.Path(dir_okay=False, path_type=Path)
OUTPUTS = ("output", "no_clobber", "per_image", "plot", "on_error")


def _counts(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        counts = sorted({int(part) for part in value.split(",")})
    except ValueError as e:
        raise click.BadParameter(f"{value!r} is not a list such as 1,10,100,1000") from e
    if counts[0] < 1:
        raise click.BadParameter("give numbers from 1")
    return tuple(counts)


@options.command("evaluate", "Compare masks with a ground truth: AP, AR, or IoU of prompts.")
@click.argument("truth", metavar="GROUND_TRUTH.json")
@click.argument("predictions", nargs=-1, required=True, metavar="PREDICTIONS.json...")
@options.option(
    "--protocol",
    type=click.Choice(["whole-image", "point"]),
    default="whole-image",
    help="All masks of an image, ranked by score; or the answers to prompts.",
)
@options.option(
    "--max-dets",
    default="1,10,100,1000",
    callback=_counts,
    metavar="N,...",
    help="Predictions kept of every image, for AR; AP is that of the largest.",
)
@options.option(
    "--by", metavar="KEY", help="Metrics also for each value of a key of the ground truth."
)
@options.option(
    "--match",
    type=click.Choice(["id", "file-name"]),
    default="id",
    help="How images of the files are matched.",
)
@options.option(
    "--score-key",
    default="score",
    metavar="KEY",
    help="What ranks predictions; none: their order in the file.",
)
@options.option(
    "--bootstrap",
    default=1000,
    type=click.IntRange(0),
    help="With several files of predictions: draws of images for the intervals of differences.",
)
@options.option("--seed", default=0, type=options.SEED, help="Seeds the draws.")
@options.run_option(
    "-o", "--output", metavar="PATH", group="Output", help="The report as JSON; - is stdout."
)
@options.run_option("--per-image", type=PATH, group="Output", help="Metrics by image, as CSV.")
@options.run_option(
    "--plot", type=PATH, group="Output", help="Recall over IoU and by size, as .png or .svg."
)
@options.run_option(
    "--no-clobber", is_flag=True, group="Output", help="Refuse to replace an existing output."
)
@options.run_option(
    "--shard", default="0/1", metavar="K/N|slurm", help="Evaluate images K, K+N...; merge joins."
)
@options.on_error_option
@options.run_option(
    "--jobs",
    type=click.IntRange(1),
    group="Compute",
    help="Worker threads.  [default: the CPUs this process may use]",
)
def command(
    truth: str,
    predictions: tuple[str, ...],
    score_key: str,
    shard: str,
    jobs: int | None,
    **values: Any,
) -> int:
    """Compare masks with a ground truth, class-agnostic, as COCO does.

    Reads masks files of any form; prints a table, and writes a report with -o.

    \b
      unsam evaluate instances_val2017.json masks.json -o report.json
      unsam evaluate val.json ours.json theirs.json --by annotator --plot recall.svg
    """
    from unsam_cli.evaluation import EvaluateOutputs, EvaluateSettings, evaluate
    from unsam_cli.evaluation.table import as_text

    context = click.get_current_context()
    outputs = EvaluateOutputs(
        shard=parse_shard(shard, os.environ),
        jobs=jobs or usable_cpus(),
        step=options.step_of(context),
        progress=reporter_factory(plain=context.find_root().meta["unsam.plain"]),
        **{name: values.pop(name) for name in OUTPUTS},
    )
    settings = EvaluateSettings(score_key=None if score_key == "none" else score_key, **values)
    report, skipped = evaluate(truth, predictions, settings, outputs)
    if report is not None and outputs.output != "-":
        click.echo(as_text(report, terminal=sys.stdout.isatty()), nl=False)
    return EXIT_SKIPPED if skipped else 0
