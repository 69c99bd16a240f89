"""unsam evaluate GROUND_TRUTH.json PREDICTIONS.json... [-o REPORT.json]"""  # noqa: D400

from __future__ import annotations

import os
import sys
from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.cli.log import reporter_factory
from unsam_cli.cli.settings import settings_options
from unsam_cli.errors import EXIT_SKIPPED
from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.run.resources import usable_cpus
from unsam_cli.run.shards import parse_shard


@options.command("evaluate", "Compare masks with a ground truth: AP, AR, or IoU of prompts.")
@click.argument("truth", metavar="GROUND_TRUTH.json")
@click.argument("predictions", nargs=-1, required=True, metavar="PREDICTIONS.json...")
@settings_options("settings", EvaluateSettings)
@options.run_option(
    "-o", "--output", metavar="PATH", group="Output", help="Report as JSON; - is standard output."
)
@options.run_option(
    "--per-image", type=options.OUTPUT_FILE, group="Output", help="Metrics per image, as CSV."
)
@options.run_option(
    "--plot",
    type=options.OUTPUT_FILE,
    group="Output",
    help="Plot of recall over IoU and by size, as .png or .svg.",
)
@options.run_option(
    "--no-clobber", is_flag=True, group="Output", help="Refuse to replace an existing output."
)
@options.run_option(
    "--shard",
    default="0/1",
    metavar="K/N|slurm",
    help="Evaluate images K, K+N, ...; join with merge.",
)
@options.on_error_option
@options.run_option(
    "--jobs",
    type=click.IntRange(1),
    group="Compute",
    help="Number of worker threads.  [default: the CPUs this process may use]",
)
def command(
    truth: str,
    predictions: tuple[str, ...],
    settings: EvaluateSettings,
    shard: str,
    jobs: int | None,
    **outputs: Any,
) -> int:
    """Compare masks with a ground truth by the COCO metrics, ignoring classes.

    Reads masks files in any form; prints a table, and writes a report with -o.

    \b
      unsam evaluate instances_val2017.json masks.json -o report.json
      unsam evaluate val.json ours.json theirs.json --by annotator --plot recall.svg
    """
    from unsam_cli.evaluation.stage import EvaluateOutputs, evaluate
    from unsam_cli.evaluation.table import as_text

    context = click.get_current_context()
    chosen = EvaluateOutputs(
        shard=parse_shard(shard, os.environ),
        jobs=jobs or usable_cpus(),
        step=options.step_of(context),
        progress=reporter_factory(plain=context.find_root().meta["unsam.plain"]),
        **outputs,
    )
    report, skipped = evaluate(truth, predictions, settings, chosen)
    if report is not None and chosen.output != "-":
        click.echo(as_text(report, terminal=sys.stdout.isatty()), nl=False)
    return EXIT_SKIPPED if skipped else 0
