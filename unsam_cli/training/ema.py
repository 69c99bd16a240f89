"""Exponential moving average of weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class MovingAverage:
    """Exponential moving average of a module's parameters, and a copy of its buffers.

    Parameters are averaged in their own dtype, float32. After the n-th update (from 1) the decay is
    min(decay, (1 + n) / (10 + n)), so that short runs forget their random start.

    Parameters
    ----------
    module : nn.Module
        Its current state is the initial average.
    decay : float
        Decay per update, between 0 and 1.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {k: v.detach().clone() for k, v in module.state_dict().items()}

    def update(self, module: nn.Module, n: int) -> None:
        """Add the state of `module` after the n-th update, from 1."""
        learnt = {name for name, _ in module.named_parameters(remove_duplicate=False)}
        averages, values = [], []
        for name, value in module.state_dict().items():
            if name in learnt:
                averages.append(self.weights[name])
                values.append(value)
            else:  # statistics, counters, schedules
                self.weights[name].copy_(value)
        decay = min(self.decay, (1 + n) / (10 + n))
        get_ema_multi_avg_fn(decay)(averages, values, n)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Continue from `weights`, the average of an earlier run."""
        for name, average in self.weights.items():
            average.copy_(weights[name])
