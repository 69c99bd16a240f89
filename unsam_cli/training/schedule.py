"""The learning rate as a function of the step, without any state."""

from __future__ import annotations

import math

from unsam_cli.training.settings import TrainerSettings

GAMMA = 0.1  # the factor of a drop


def lr_factor(step: int, total: int, settings: TrainerSettings) -> float:
    """Return the factor of the learning rate at a step.

    Parameters
    ----------
    step : int
        Number of the update, from 0.
    total : int
        Number of all updates.
    settings : TrainerSettings
        `schedule`, `drops`, `lr_floor` and `warmup` are used.

    Returns
    -------
    float
        For ``step``, 0.1 to the power of the number of drops so far. For ``cosine``,
        floor + (1 - floor) (1 + cos(pi t)) / 2, where t goes from 0 at the end of the warm-up to 1
        after the last step. During the warm-up, either is multiplied by (step + 1) / warmup.
    """
    rise = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    if settings.schedule == "step":
        return rise * GAMMA ** sum(step >= at for at in drop_steps(total, settings.drops))
    t = max(step - settings.warmup, 0) / max(total - settings.warmup, 1)
    return rise * (settings.lr_floor + (1 - settings.lr_floor) * (1 + math.cos(math.pi * t)) / 2)


def drop_steps(total: int, drops: tuple[float, ...]) -> list[int]:
    """Convert `drops`, which are steps or (below 1) fractions of `total`, to steps."""
    return [round(drop * total if drop < 1 else drop) for drop in drops]
