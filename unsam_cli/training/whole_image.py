"""Training of whole-image segmenters as a task for the trainer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unsam_cli.errors import UsageError
from unsam_cli.models.eomt import anneal_masks
from unsam_cli.models.inputs import normalise
from unsam_cli.models.loading import save_segmenter
from unsam_cli.models.segmenter import Segmenter
from unsam_cli.models.settings import CONDINST
from unsam_cli.training.cell_losses import cell_losses
from unsam_cli.training.criterion import TERMS, count_amounts, set_losses
from unsam_cli.training.dataset import AnnotatedImages
from unsam_cli.training.parameters import parameter_groups
from unsam_cli.training.recipe import Recipe
from unsam_cli.training.sampler import derive_seed
from unsam_cli.training.samples import Sample, SampleBatch, make_sample
from unsam_cli.training.task import Batch, Validated

Validation = Callable[[Segmenter], Validated]
"""Evaluates a segmenter."""

_PREFIX = "segmenter."
_BACKBONES = {
    "mask2former": ("segmenter.network.model.pixel_level_module.encoder.",),
    "eomt": ("segmenter.network.embeddings.", "segmenter.network.layers."),
    "condinst": ("segmenter.network.backbone.",),
}


class _WithLosses(nn.Module):
    """Module that computes the losses of a segmenter."""

    def __init__(self, segmenter: Segmenter, recipe: Recipe) -> None:
        super().__init__()
        self.segmenter, self.losses = segmenter, recipe.losses

    def forward(self, batch: SampleBatch, totals: Tensor) -> dict[str, Tensor]:
        # Other seeds than for the points at which masks are compared.
        seeds = [derive_seed(seed, 1) for seed in batch.seeds]
        predictions = self.segmenter(normalise(batch.images), seeds)
        with torch.autocast(batch.images.device.type, enabled=False):
            compare = cell_losses if self.segmenter.config.architecture == CONDINST else set_losses
            layers = compare(predictions, batch.masks, batch.seeds, totals, self.losses)
        named = dict(zip(TERMS, layers[-1], strict=True))
        return named | {"auxiliary": layers[:-1].sum()}


class WholeImageTask:
    """A segmenter, annotated images and losses, as a `Task` of the trainer.

    The losses are those of Mask2Former, or `cell_losses` for CondInst.

    Parameters
    ----------
    segmenter : Segmenter
        Segmenter to train.
    images : AnnotatedImages
        Images and masks.
    recipe : Recipe
        Samples, losses, learning rate of the backbone and weight decay.
    validation : callable, optional
        Evaluates a segmenter; the first metric is maximised.
    history : sequence of dict
        Steps that lead to the weights, written into model folders.

    Raises
    ------
    UsageError
        The crop's side is not a multiple of ``segmenter.multiple``.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        images: AnnotatedImages,
        recipe: Recipe,
        *,
        validation: Validation | None = None,
        history: Sequence[dict[str, Any]] = (),
    ) -> None:
        if recipe.data.crop % segmenter.multiple:
            raise UsageError(
                f"a crop of {recipe.data.crop} pixels does not fit "
                f"{segmenter.config.backbone}; use a multiple of {segmenter.multiple}"
            )
        self.segmenter, self.images, self.recipe = segmenter, images, recipe
        self._validation, self._history = validation, list(history)
        self._module = _WithLosses(segmenter, recipe)

    @property
    def module(self) -> nn.Module:
        """The segmenter with its losses."""
        return self._module

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int, seed: int) -> Sample:
        """Read and augment an image and its masks."""
        return make_sample(self.images, index, seed, self.recipe.data)

    def collate(self, samples: Sequence[Sample]) -> SampleBatch:
        """Join samples."""
        return SampleBatch.of(samples)

    def begin(self, share: float) -> None:
        """Anneal the masked attention of EoMT, block by block; `share` of the steps are done."""
        if self.segmenter.config.architecture == "eomt":
            anneal_masks(self.segmenter.network, share)

    def amounts(self, batch: Batch) -> Tensor:
        """Return the divisors of the losses: masks and, but for CondInst, weights of queries."""
        assert isinstance(batch, SampleBatch)
        if self.segmenter.config.architecture == CONDINST:
            return torch.tensor([sum(map(len, batch.masks))], dtype=torch.float64)
        queries = self.segmenter.config.queries
        return count_amounts(queries, [len(m) for m in batch.masks], self.recipe.losses)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Group weights by learning rate and decay."""
        backbone = _BACKBONES[self.segmenter.config.architecture]
        return parameter_groups(self._module, backbone, self.recipe.parameters)

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write a model folder."""
        own = _without_prefix(weights)
        save_segmenter(self.segmenter, folder, weights=own, history=self._history)

    def validate(self, weights: Mapping[str, Tensor]) -> Validated:
        """Evaluate these weights on the validation images."""
        assert self._validation is not None
        measured = copy.deepcopy(self.segmenter)
        measured.load_state_dict(_without_prefix(weights))
        return self._validation(measured.eval())


def _without_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(_PREFIX): value for name, value in weights.items()}
