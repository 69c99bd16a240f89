"""unsam evaluate GROUND_TRUTH.json PREDICTIONS.json... [-o REPORT.json]"""  # noqa: D400

from __future__ import annotations

import sys
from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.cli.settings import settings_options
from unsam_cli.evaluation.settings import EvaluateSettings, ReportRun
from unsam_cli.run.settings import RunSettings


@options.command("evaluate", "Compare masks with a ground truth: AP, AR, or IoU of prompts.")
@click.argument("truth", metavar="GROUND_TRUTH.json")
@click.argument("predictions", nargs=-1, required=True, metavar="PREDICTIONS.json...")
@settings_options("settings", EvaluateSettings)
@settings_options("run", ReportRun, build=options.run_settings, leave_out=["kind"])
@options.run_option(
    "--per-image", type=options.OUTPUT_FILE, group="Output", help="Metrics per image, as CSV."
)
@options.run_option(
    "--plot",
    type=options.OUTPUT_FILE,
    group="Output",
    help="Plot of recall over IoU and by size, as .png or .svg.",
)
def command(
    truth: str,
    predictions: tuple[str, ...],
    settings: EvaluateSettings,
    run: RunSettings,
    **files: Any,
) -> int:
    """Compare masks with a ground truth by the COCO metrics, ignoring classes.

    Reads masks files in any form; prints a table, and writes a report with -o.

    \b
      unsam evaluate instances_val2017.json masks.json -o report.json
      unsam evaluate val.json ours.json theirs.json --by annotator --plot recall.svg
    """
    from unsam_cli.evaluation.sinks import EvaluateOutputs
    from unsam_cli.evaluation.stage import evaluate
    from unsam_cli.evaluation.table import as_text

    output = click.get_current_context().params["output"]
    outputs = EvaluateOutputs(report=output is not None, **files)
    report, code = evaluate(truth, predictions, settings, run, outputs)
    if report is not None and output != "-":
        click.echo(as_text(report, terminal=sys.stdout.isatty()), nl=False)
    return code
