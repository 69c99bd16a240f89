"""One update of the weights: gradients of all batches of a step, then the optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsam_cli.errors import UnsamError
from unsam_cli.training.checkpoint_files import Checkpoint
from unsam_cli.training.distributed import World
from unsam_cli.training.ema import MovingAverage
from unsam_cli.training.restoring import check_checkpoint
from unsam_cli.training.sampler import derive_seed
from unsam_cli.training.schedule import lr_factor
from unsam_cli.training.settings import TrainerSettings
from unsam_cli.training.task import Batch, Task

NAMED = 16  # maximum number of images that an error message names


class Learner:
    """Weights, optimizer and moving average of a training.

    Parameters
    ----------
    task : Task
        Module and data; the module is moved to the device of `world`.
    settings : TrainerSettings
        Optimizer, schedule and precision.
    world : World
        The processes that train together.
    """

    def __init__(self, task: Task[Any], settings: TrainerSettings, world: World) -> None:
        self.task, self.settings, self.world = task, settings, world
        self.total = settings.total_steps(len(task))
        self.module = task.module.to(world.device).train()
        groups = [{"lr_scale": 1.0, **group} for group in task.parameter_groups()]
        self.parameters = [p for group in groups for p in group["params"]]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.lr, weight_decay=0.0)
        self.average = MovingAverage(self.module, settings.ema) if settings.ema else None
        self.model = world.wrap(self.module)

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The weights that are validated and written: the moving average, if there is one."""
        return self.module.state_dict() if self.average is None else self.average.weights

    def update(self, step: int, batches: Sequence[Batch]) -> dict[str, float]:
        """Make one update of the weights.

        Parameters
        ----------
        step : int
            Number of the update, from 0.
        batches : sequence of Batch
            Batches of this process.

        Returns
        -------
        dict of float
            ``loss`` over all processes and its parts, ``gradient_norm`` (L2, before clipping) and
            ``lr``.

        Raises
        ------
        UnsamError
            A loss or a gradient is not finite; the weights are not changed.
        """
        amounts = torch.stack([self.task.amounts(batch) for batch in batches]).sum(0)
        totals = self.world.sum(amounts) / self.world.size
        self.optimizer.zero_grad()
        self.task.begin(step / self.total)
        losses = []
        for i, batch in enumerate(batches):
            torch.manual_seed(derive_seed(self.settings.seed, step, self.world.rank, i))
            with self.world.without_averaging(self.model, i + 1 < len(batches)):
                losses.append(self._backward(batch, totals))
        clip = self.settings.clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, clip)
        values = self._measure(step, batches, losses, norm)
        values["lr"] = self.settings.lr * lr_factor(step, self.total, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = values["lr"] * group["lr_scale"]
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.module, step + 1)
        return values

    def _backward(self, batch: Batch, totals: Tensor) -> dict[str, Tensor]:
        device = self.world.device
        kind = torch.device(device).type
        half = self.settings.dtype == "bfloat16"
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=half):
            # float32 before it moves: not all devices have more
            losses = self.model(batch.to(device), totals.float().to(device))
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        return {name: loss.detach() for name, loss in losses.items()}

    def _measure(
        self,
        step: int,
        batches: Sequence[Batch],
        losses: Sequence[Mapping[str, Tensor]],
        norm: Tensor,
    ) -> dict[str, float]:
        """Fetch losses from the device; nothing else in a step waits for the device."""
        names = list(losses[0])
        table = torch.stack([torch.stack([loss[n].float() for n in names]) for loss in losses])
        numbers = torch.cat([table.flatten(), norm.float().reshape(1)]).cpu().double()
        mine = numbers[:-1].view_as(table)
        shared = self.world.sum(torch.cat([mine.sum(0), numbers[-1:]])) / self.world.size
        if not shared.isfinite().all():
            rows = mine.isfinite().all(1).tolist()
            bad = [
                name for b, fine in zip(batches, rows, strict=True) if not fine for name in b.names
            ]
            bad = bad or [name for b in batches for name in b.names if not numbers[-1].isfinite()]
            raise _diverged(step, [*names, "gradient"], shared, self.world.gather(bad))
        parts = dict(zip(names, shared.tolist(), strict=False))
        return {"loss": sum(parts.values())} | parts | {"gradient_norm": float(shared[-1])}

    def state(self) -> dict[str, Any]:
        """Return the state of the optimizer."""
        return {"optimizer": self.optimizer.state_dict()}

    def load(self, checkpoint: Checkpoint, folder: Path) -> None:
        """Continue from a checkpoint.

        Raises
        ------
        CheckpointError
            It does not fit this training; nothing is changed.
        """
        check_checkpoint(
            folder,
            checkpoint,
            weights=self.module.state_dict(),
            average=None if self.average is None else self.average.weights,
            optimizer=self.optimizer.state_dict(),
            parameters=self.parameters,
        )
        self.module.load_state_dict(dict(checkpoint.weights))
        # Rates and decays are those of the settings, which are the same.
        groups = self.optimizer.state_dict()["param_groups"]
        moments = checkpoint.state["optimizer"]["state"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        if self.average is not None and checkpoint.average is not None:
            self.average.load(checkpoint.average)


def _diverged(
    step: int, names: Sequence[str], values: Tensor, images: Sequence[Sequence[str]]
) -> UnsamError:
    name, value = next(
        (n, float(v)) for n, v in zip(names, values, strict=True) if not v.isfinite()
    )
    listed = [image for of_process in images for image in of_process]
    text = ", ".join(listed[:NAMED]) + (" ..." if len(listed) > NAMED else "")
    return UnsamError(
        f"step {step + 1}: {name} is {value} for {text}; earlier checkpoints are unchanged: "
        "check these images, or lower the learning rate"
    )
