"""Fine-tuning of promptable segmenters, SAM and SAM 2, as a task for the trainer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unsam_cli.sam.loading import save_promptable
from unsam_cli.sam.promptable import MaskLogits, Promptable
from unsam_cli.sam.prompts import Prompts
from unsam_cli.training.bitmasks import BitMasks
from unsam_cli.training.parameters import parameter_groups
from unsam_cli.training.prompted.losses import BOX_TERMS, TERMS, match_answers, pair_losses
from unsam_cli.training.prompted.questions import Questions, correct
from unsam_cli.training.prompted.samples import PromptedBatch, PromptedSample, PromptedSamples
from unsam_cli.training.prompted.settings import PromptSettings
from unsam_cli.training.recipe import ParameterSettings
from unsam_cli.training.sampler import derive_seed
from unsam_cli.training.task import Batch, Validated

Validation = Callable[[Promptable], Validated]
"""Measures a promptable model."""

_PREFIX = "model."


class PromptedLosses(nn.Module):
    """Module that computes the losses of a promptable model.

    Parameters
    ----------
    model : Promptable
        Model with frozen weights marked, see :func:`unsam_cli.sam.model.trainable`.
    settings : PromptSettings
        Losses, and number of prompts that are computed together.
    """

    def __init__(self, model: Promptable, settings: PromptSettings) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        weights = model.network.named_parameters()
        self.terms = (*TERMS, *BOX_TERMS) if model.predicts_boxes else TERMS
        self.frozen = not any(p.requires_grad for n, p in weights if n.startswith(model.encoder))

    def forward(self, batch: PromptedBatch, totals: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses, by name: sums over pairs divided by ``totals[0]``."""
        embeddings = self._embeddings(batch.samples)
        sums = [
            self._image_losses(embedding, sample)
            for embedding, sample in zip(embeddings, batch.samples, strict=True)
        ]
        losses = torch.stack(sums).sum(dim=0) / totals[0].clamp(min=1)
        return dict(zip(self.terms, losses, strict=True))

    def _embeddings(self, samples: Sequence[PromptedSample]) -> list[Any]:
        """Run the encoder; if it is frozen, image by image, so that results are reproducible."""
        if self.frozen:
            return [self._embedding(sample) for sample in samples]
        pixels = [sample.pixels for sample in samples if sample.pixels is not None]
        together = self.model.embed(torch.stack(pixels))
        return [together[i] for i in range(len(samples))]

    @torch.no_grad()
    def _embedding(self, sample: PromptedSample) -> Any:
        if sample.embedding is not None:
            return sample.embedding
        assert sample.pixels is not None
        return self.model.embed(sample.pixels[None])

    def _image_losses(self, embedding: Any, sample: PromptedSample) -> Tensor:
        """Return the losses of one image, one per term, computed for a few prompts at a time."""
        step = self.settings.chunk
        chunks = [q[i : i + step] for q in sample.questions for i in range(0, len(q), step)]
        # An image without masks still needs losses, with a gradient of zero.
        learnt = next(p for p in self.model.parameters() if p.requires_grad)
        total = torch.zeros(len(self.terms), device=learnt.device) + 0 * learnt.sum()
        for i, questions in enumerate(chunks):
            seed = derive_seed(sample.seed, i)
            arguments = (embedding, questions, sample.masks, sample.corrections, seed)
            # The backward pass recomputes the answers, so only one chunk is in memory.
            total = total + (
                self._chunk_losses(*arguments)
                if len(chunks) == 1
                else checkpoint(
                    self._chunk_losses, *arguments, use_reentrant=False, preserve_rng_state=False
                )
            )
        return total

    def _chunk_losses(
        self,
        embedding: Any,
        questions: Questions,
        masks: BitMasks,
        corrections: int,
        seed: int,
    ) -> Tensor:
        generator = torch.Generator(masks.bits.device).manual_seed(seed)
        prompts, clicked = questions.prompts, questions.clicked
        found = self._ask(embedding, prompts, multimask=questions.multimask)
        total = self._compare(found, masks, questions.targets, generator)
        for _ in range(corrections):
            prompts = correct(prompts, found.logits.detach(), masks, clicked, generator)
            found = self._ask(embedding, prompts, multimask=False)
            total = total + self._compare(found, masks, clicked[:, None], generator)
        return total

    def _compare(
        self, found: MaskLogits, masks: BitMasks, targets: Tensor, generator: torch.Generator
    ) -> Tensor:
        with torch.autocast(targets.device.type, enabled=False):
            pairs = match_answers(found, masks, targets, generator, self.settings)
            return pair_losses(found, masks, pairs, generator, self.settings)

    def _ask(self, embedding: Any, prompts: Prompts, *, multimask: bool) -> MaskLogits:
        return self.model.decode(embedding, prompts, multimask=multimask, fold=True).float()


class PromptedTask:
    """A promptable model, annotated images and losses, as a `Task` of the trainer.

    Parameters
    ----------
    model : Promptable
        Model with frozen weights marked, see :func:`unsam_cli.sam.model.trainable`.
    samples : PromptedSamples
        Training samples.
    parameters : ParameterSettings
        Learning rate of the encoder and weight decay.
    validation : callable, optional
        Evaluates a model; the first metric is maximised.
    history : sequence of dict
        Steps that lead to the weights, written into model folders.
    """

    def __init__(
        self,
        model: Promptable,
        samples: PromptedSamples,
        parameters: ParameterSettings,
        *,
        validation: Validation | None = None,
        history: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.model, self.samples, self._parameters = model, samples, parameters
        self._validation, self._history = validation, list(history)
        self._module = PromptedLosses(model, samples.settings)

    @property
    def module(self) -> nn.Module:
        """The model with its losses."""
        return self._module

    def __len__(self) -> int:
        return len(self.samples)

    def sample(self, index: int, seed: int) -> PromptedSample:
        """Read an image and draw its prompts."""
        return self.samples.make(index, seed)

    def collate(self, samples: Sequence[PromptedSample]) -> PromptedBatch:
        """Join samples."""
        return PromptedBatch(list(samples))

    def begin(self, share: float) -> None:
        """Do nothing: all steps are alike."""

    def amounts(self, batch: Batch) -> Tensor:
        """Count the answers that are compared with a mask, (1,) float64."""
        assert isinstance(batch, PromptedBatch)
        return torch.tensor([sum(s.pairs for s in batch.samples)], dtype=torch.float64)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Group weights by learning rate and decay."""
        pretrained = [f"{_PREFIX}network.{prefix}" for prefix in self.model.pretrained]
        return parameter_groups(self._module, pretrained, self._parameters)

    def save(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write a model folder, with adapters merged."""
        own = _without_prefix(weights)
        save_promptable(self.model, folder, weights=own, history=self._history)

    def validate(self, weights: Mapping[str, Tensor]) -> Validated:
        """Evaluate these weights on the validation images."""
        assert self._validation is not None
        measured = copy.deepcopy(self.model)
        measured.load_state_dict(_without_prefix(weights))
        return self._validation(measured.eval())


def _without_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(_PREFIX): value for name, value in weights.items()}
