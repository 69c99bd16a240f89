"""Options of commands that train; see :mod:`unsam_cli.cli.options`.

``@weight_options``    ``parameters``: a :class:`~unsam_cli.training.recipe.ParameterSettings`
``@trainer_options``   ``trainer``: a :class:`~unsam_cli.training.settings.TrainerSettings`
``@run_options``       ``run``: :class:`~unsam_cli.training.settings.TrainingRun`, ``-o --resume``
"""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from unsam_cli.cli.command import PRESET, step_of
from unsam_cli.cli.settings import settings_options
from unsam_cli.cli.train_log import training_reporter_factory
from unsam_cli.training.recipe import ParameterSettings
from unsam_cli.training.settings import TrainerSettings, TrainingRun

weight_options = settings_options("parameters", ParameterSettings)


def _trainer(**values: Any) -> TrainerSettings:
    _choose_length(click.get_current_context(), values)
    return TrainerSettings(**values)


def _choose_length(context: click.Context, values: dict[str, Any]) -> None:
    """Keep the one of steps and epochs with the stronger source, and record only that."""

    def rank(name: str) -> int:
        source = context.get_parameter_source(name)
        if source is ParameterSource.DEFAULT_MAP:
            return int(values[name] != context.meta[PRESET].get(name))
        if source is ParameterSource.ENVIRONMENT:
            return 2
        return 3 if source is ParameterSource.COMMANDLINE else -1

    weaker, stronger = sorted(("steps", "epochs"), key=rank)
    if rank(weaker) < rank(stronger):
        values[weaker] = context.params[weaker] = None


trainer_options = settings_options("trainer", TrainerSettings, build=_trainer)


def _training_run(**values: Any) -> TrainingRun:
    context = click.get_current_context()
    report = training_reporter_factory(plain=context.find_root().meta["unsam.plain"])
    return TrainingRun(step=step_of(context), report=report, **values)


run_options = settings_options("run", TrainingRun, build=_training_run)
