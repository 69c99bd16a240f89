"""The learning rate as a function of the step, so that there is no state to keep."""

from __future__ import annotations

import math

from unsam_cli.training.settings import TrainerSettings

GAMMA = 0.1  # the factor of a drop


def lr_factor(step: int, total: int, settings: TrainerSettings) -> float:
    """Return what the learning rate is multiplied by.

    Parameters
    ----------
    step : int
        The update, from 0.
    total : int
        All updates.
    settings : TrainerSettings
        `schedule`, `drops`, `lr_floor` and `warmup` count.

    Returns
    -------
    float
        During the warm-up (step + 1) / warmup times the schedule's own factor: 0.1 for each drop
        behind, or floor + (1 - floor) (1 + cos(pi t)) / 2, where t goes from 0 at the end of the
        warm-up to 1 after the last step.
    """
    rise = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    if settings.schedule == "step":
        return rise * GAMMA ** sum(step >= at for at in drop_steps(total, settings.drops))
    t = max(step - settings.warmup, 0) / max(total - settings.warmup, 1)
    return rise * (settings.lr_floor + (1 - settings.lr_floor) * (1 + math.cos(math.pi * t)) / 2)


def drop_steps(total: int, drops: tuple[float, ...]) -> list[int]:
    """Return `drops`, fractions (below 1) or steps, as steps."""
    return [round(drop * total if drop < 1 else drop) for drop in drops]
