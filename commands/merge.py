"""unsam merge FILE... -o FILE"""  # noqa: D400

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from unsam_cli.cli import options
from unsam_cli.errors import EXIT_SKIPPED, UsageError


@options.command("merge", "Join the shards of one run, or combine two files of masks.")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@options.option(
    "--union",
    is_flag=True,
    help="Keep all masks of the first file, and those of the second that overlap none of the "
    "first.",
)
@options.option(
    "--max-iou",
    type=click.FloatRange(0, 1),
    default=0.02,
    help="With --union: drop masks of the second file whose IoU with one of the first is higher.",
)
@options.option(
    "--ranked",
    is_flag=True,
    help="With --union: rank all masks of the first file above those of the second; scores become "
    "(1 + score) / 2 and score / 2.",
)
@options.option(
    "--snap",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="IOU",
    help="Write only the masks of the first file, each in the shape of the most similar mask of "
    "the second if their IoU is at least this.",
)
@options.run_option(
    "--partial",
    is_flag=True,
    help="Join shards although some are missing; missing shards can be merged later.",
)
@options.output_options
@options.on_error_option
def command(
    files: tuple[Path, ...],
    union: bool,
    max_iou: float,
    ranked: bool,
    snap: float | None,
    partial: bool,
    output: str,
    no_clobber: bool,
    on_error: str,
) -> int:
    """Join the shards of one run: features (HDF5), masks (JSON) or evaluations (JSON).

    The order of the shards does not matter; the result is byte-identical to that of one run. A
    shard that is missing or given twice is an error.

    With --union, two files of masks of the same images become one, as UnSAM+ combines the masks of
    SA-1B with pseudo-masks. With --snap, the masks of a trained network get the borders of the
    pseudo-masks that they resemble.

    \b
      unsam merge features.0.h5 features.1.h5 -o features.h5
      unsam merge masks.*.json -o masks.json
      unsam merge --union sa1b.json masks.json --max-iou 0.02 -o plus.json
      unsam merge --snap 0.6 found.json masks.json -o better.json
    """
    from unsam_cli.evaluation.partial import is_partial, merge_reports
    from unsam_cli.run.merging import merge

    reports = all(map(is_partial, files))
    if union and snap is not None:
        raise UsageError("--union and --snap combine files in two ways; give one of them")
    combine = "--union" if union else "--snap" if snap is not None else None
    if partial and combine:
        raise UsageError(f"--partial is for shards: remove {combine}")
    if on_error == "skip" and not combine:
        raise UsageError("--on-error skip is for --union and --snap: a damaged shard is no result")
    skipped = False
    if combine:
        if len(files) != 2:
            raise UsageError(f"{combine} needs two files, got {len(files)}")
        common: Any = {"output": output, "no_clobber": no_clobber, "on_error": on_error}
        common["step"] = options.step_of(click.get_current_context())
        if snap is not None:
            from unsam_cli.convert.snap import snap as write_snapped

            skipped = write_snapped(*files, least=snap, **common)
        else:
            from unsam_cli.convert.union import union as unite

            skipped = bool(unite(*files, max_iou=max_iou, ranked=ranked, **common).skipped)
    elif reports:
        merge_reports(files, output=output, no_clobber=no_clobber, partial=partial)
    else:
        merge(files, output=output, no_clobber=no_clobber, partial=partial)
    return EXIT_SKIPPED if skipped else 0
