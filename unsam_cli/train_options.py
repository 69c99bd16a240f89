"""Options of commands that train; see :mod:`unsam_cli.options`.

``@preset_option``     ``--preset``: other defaults for all options
``@weight_options``    ``parameters``: a :class:`~unsam_cli.training.recipe.ParameterSettings`
``@trainer_options``   ``trainer``: a :class:`~unsam_cli.training.settings.TrainerSettings`
``@folder_options``    ``-o`` a folder, ``--resume``
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from unsam_cli.options import SEED, F, bundle, device_option, option, parse_floats, run_option
from unsam_cli.run.resources import usable_cpus
from unsam_cli.training.recipe import ParameterSettings
from unsam_cli.training.settings import DTYPES, SCHEDULES, TrainerSettings

_PRESET = "unsam.preset"
_MOST_JOBS = 8  # worker processes of a training process, unless more are asked for
_POSITIVE, _FROM_ZERO = click.IntRange(1), click.IntRange(0)
_RATE = click.FloatRange(0, min_open=True)
_FRACTION = click.FloatRange(0, 1)
_training_option = partial(option, group="Training")


def preset_option(presets: Mapping[str, Mapping[str, Any]], default: str) -> Callable[[F], F]:
    """Declare ``--preset``: defaults of other options, below those of a config file."""

    def use(context: click.Context, parameter: click.Parameter, name: str) -> None:
        context.default_map = {**presets[name], **(context.default_map or {})}
        context.meta[_PRESET] = presets[name]

    return run_option(
        "--preset",
        type=click.Choice(list(presets)),
        default=default,
        group="Method",
        is_eager=True,
        expose_value=False,
        callback=use,
        help="Other defaults: as published, for one GPU, for two CPU cores. Shown here are those "
        f"of {default}; --preset NAME --help shows those of another.",
    )


weight_options = bundle(
    "parameters",
    ParameterSettings,
    _training_option(
        "--backbone-lr-scale", type=_RATE, default=0.1, help="LR of the backbone, relative."
    ),
    _training_option(
        "--weight-decay",
        type=click.FloatRange(0),
        default=0.05,
        help="Of all weights but those of normalisations and embeddings.",
    ),
)


def _trainer(jobs: int | None, **values: Any) -> Any:
    _choose_length(click.get_current_context(), values)
    jobs = min(usable_cpus(), _MOST_JOBS) if jobs is None else jobs
    return TrainerSettings(jobs=jobs, **values)


def _choose_length(context: click.Context, values: dict[str, Any]) -> None:
    """Of steps and epochs keep what the user said last, and record no other."""

    def rank(name: str) -> int:
        source = context.get_parameter_source(name)
        if source is ParameterSource.DEFAULT_MAP:
            return int(values[name] != context.meta[_PRESET].get(name))
        if source is ParameterSource.ENVIRONMENT:
            return 2
        return 3 if source is ParameterSource.COMMANDLINE else -1

    weaker, stronger = sorted(("steps", "epochs"), key=rank)
    if rank(weaker) < rank(stronger):
        values[weaker] = context.params[weaker] = None


trainer_options = bundle(
    "trainer",
    _trainer,
    _training_option("--epochs", type=_RATE, help="Passes over the images."),
    _training_option(
        "--steps", type=_POSITIVE, help="Updates of the weights, instead of --epochs."
    ),
    _training_option(
        "--batch-size",
        type=_POSITIVE,
        default=16,
        help="Images of a step, of all processes together.",
    ),
    _training_option("--lr", type=_RATE, default=5e-5, help="Learning rate of AdamW."),
    _training_option(
        "--schedule",
        type=click.Choice(SCHEDULES),
        default="step",
        help="Multiply the rate by 0.1 at --drops, or let it fall as a cosine.",
    ),
    _training_option(
        "--drops",
        default="0.88888,0.96296",
        callback=parse_floats,
        metavar="LIST",
        help="Steps, or fractions of all steps.",
    ),
    _training_option(
        "--lr-floor", type=_FRACTION, default=0.0, help="Where the cosine ends, relative to LR."
    ),
    _training_option("--warmup", type=_FROM_ZERO, default=0, help="Steps in which the rate rises."),
    _training_option(
        "--clip",
        type=click.FloatRange(0),
        default=0.01,
        help="Largest norm of the gradient; 0 lets all pass.",
    ),
    _training_option(
        "--ema",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.0,
        help="Decay of a moving average of the weights, which is then the result; 0 is off.",
    ),
    run_option(
        "--validate-every",
        type=_FROM_ZERO,
        default=1000,
        help="With --validate: steps between measurements.",
    ),
    run_option(
        "--checkpoint-every", type=_POSITIVE, default=1000, help="Steps between checkpoints."
    ),
    run_option("--keep", type=_POSITIVE, default=2, help="Newest checkpoints to keep."),
    run_option("--log-every", type=_POSITIVE, default=20, help="Steps averaged in metrics.jsonl."),
    run_option("--tensorboard", is_flag=True, help="Write event files, too."),
    option("--seed", default=0, type=SEED, group="Run", help="Root of all random numbers."),
    run_option(
        "--jobs",
        type=_FROM_ZERO,
        group="Compute",
        help="Worker processes that read images, of each process; 0: none.  [default: the CPUs "
        "this process may use, at most 8]",
    ),
    run_option(
        "--accumulate",
        type=_POSITIVE,
        default=1,
        group="Compute",
        help="Parts of a step, one after the other: less memory.",
    ),
    device_option,
    option(
        "--dtype",
        type=click.Choice(DTYPES),
        default="float32",
        group="Compute",
        help="Precision of the forward pass.",
    ),
)

_folder = (
    run_option(
        "-o",
        "--output",
        required=True,
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        group="Output",
        help="Where the model, checkpoints and metrics go.",
    ),
    run_option("--resume", is_flag=True, help="Go on from the last checkpoint."),
)


def folder_options(function: F) -> F:
    """Declare ``-o`` and ``--resume``."""
    for declare in reversed(_folder):
        function = declare(function)
    return function
