"""A session with one image: prompts in pixels of the image, masks of its size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from unsam_cli.backbones.soundness import check_output
from unsam_cli.io.windows import Pixels
from unsam_cli.rle import Rle, RunTable, decode, enlarge
from unsam_cli.sam.promptable import MaskLogits, Promptable
from unsam_cli.sam.prompts import Prompts
from unsam_cli.sam.settings import Prompt


@dataclass(frozen=True)
class Answer:
    """Masks of one prompt, in the model's order.

    Attributes
    ----------
    rles : list of Rle
        M masks of the image's size.
    scores : (M,) float32
        Predicted IoU of each mask.
    """

    rles: list[Rle]
    scores: NDArray[np.float32]

    @property
    def best(self) -> NDArray[np.bool_]:
        """The mask with the highest predicted score, (H, W) bool."""
        return decode(self.rles[int(self.scores.argmax())])


class Session:
    """A model that keeps the embedding of one image and answers prompts about it.

    It has the interface that `unsam_cli.evaluation.clicks.simulate_clicks` needs: every click after
    the first refines the previous mask, as in SAM.

    Parameters
    ----------
    model : Promptable
        In evaluation mode.
    """

    def __init__(self, model: Promptable) -> None:
        self.model = model
        self._before: tuple[Prompt, torch.Tensor] | None = None

    @torch.inference_mode()
    def set_image(self, image: Pixels) -> None:
        """Encode an image, (H, W, 3) uint8 RGB; prompts refer to it until the next call."""
        self.size = (image.shape[0], image.shape[1])
        self.frame = self.model.frame(self.size)
        self.axes = self.model.axes(self.frame)
        self.embedding = self.model.embed(self.frame.pixels(image)[None].to(self.model.device))
        self._before = None

    @torch.inference_mode()
    def ask(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """Answer prompts.

        Parameters
        ----------
        prompts : sequence of Prompt
            Prompts in pixels of the image.

        Returns
        -------
        list of Answer
            One answer per prompt, in order. An ambiguous prompt without granularity gets several
            masks, any other prompt gets one.

        Raises
        ------
        UsageError
            A prompt has a granularity, and the model does not support it.
        CheckpointError
            The network computes numbers that are not finite.
        """
        alike: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
        for index, prompt in enumerate(prompts):
            kind = (len(prompt.points), prompt.box is None, prompt.granularity is None)
            alike[kind].append(index)
        answers: dict[int, Answer] = {}
        for rows in alike.values():
            for at in range(0, len(rows), self.model.batch):
                batch = rows[at : at + self.model.batch]
                asked = [prompts[row] for row in batch]
                answers |= zip(batch, self._finish(self._decode(asked)), strict=True)
        return [answers[index] for index in range(len(prompts))]

    @torch.inference_mode()
    def click(self, prompt: Prompt) -> Answer:
        """Answer clicks; if they continue those of the last call, refine its best mask.

        Errors are those of :meth:`ask`.

        Parameters
        ----------
        prompt : Prompt
            All clicks so far, the new one last, in pixels of the image.

        Returns
        -------
        Answer
            Several masks for a first click without granularity, otherwise one.
        """
        earlier = None
        if self._before is not None and _goes_on(self._before[0], prompt):
            earlier = self._before[1]
        masks = self._decode([prompt], earlier)
        best = int(masks.scores[0].argmax())
        self._before = prompt, masks.logits[:, best : best + 1]
        return self._finish(masks)[0]

    def predict(self, points: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the mask (H, W) bool of all clicks so far with the highest predicted score.

        `points` are (n, 2), x and y in pixels; `labels` are (n,), 1 on the object and 0 outside.
        """
        return self.click(clicked(points, labels)).best

    def _decode(self, prompts: Sequence[Prompt], earlier: torch.Tensor | None = None) -> MaskLogits:
        """Answer prompts of one kind; only ambiguous ones use the tokens trained for these."""
        asked, ambiguous = self._prepare(prompts, earlier), prompts[0].ambiguous
        return self.model.decode(self.embedding, asked, multimask=ambiguous, fold=True)

    def _prepare(self, prompts: Sequence[Prompt], masks: torch.Tensor | None = None) -> Prompts:
        """Convert prompts of one kind to tensors in pixels of the network's input."""
        first, device = prompts[0], self.model.device
        points = labels = boxes = granularity = None
        if first.points:
            points = self.frame.inwards(torch.tensor([p.points for p in prompts])).to(device)
            labels = torch.tensor([p.labels for p in prompts], device=device)
        if first.box is not None:
            boxes = self.frame.inwards(torch.tensor([p.box for p in prompts])).to(device)
        if first.granularity is not None:
            granularity = torch.tensor([p.granularity for p in prompts], device=device)
        return Prompts(points, labels, boxes, masks, granularity)

    def _finish(self, masks: MaskLogits) -> list[Answer]:
        """Enlarge masks to the image and encode them."""
        P, M = masks.scores.shape
        logits = masks.logits.flatten(0, 1).float().cpu().numpy()
        cut = enlarge(logits, *self.axes)
        rles = RunTable.from_runs(cut.offsets, cut.runs, self.size).to_rles()
        scores = masks.scores.float().cpu().numpy()
        check_output(logits, self.model.dtype)
        check_output(scores, self.model.dtype)
        return [Answer(rles[i * M : (i + 1) * M], scores[i]) for i in range(P)]


def clicked(
    points: NDArray[np.int64], labels: NDArray[np.int64], granularity: float | None = None
) -> Prompt:
    """Make a prompt of clicks, without a box.

    Parameters
    ----------
    points : (n, 2) int64
        x, y of each click, in pixels of the image.
    labels : (n,) int64
        1 on the object, 0 outside.
    granularity : float, optional
        Requested granularity, from 0.1 (finest) to 1 (coarsest).
    """
    return Prompt(
        tuple((float(x), float(y)) for x, y in points),
        tuple(int(label) for label in labels),
        granularity=granularity,
    )


def _goes_on(before: Prompt, prompt: Prompt) -> bool:
    """Return whether a prompt is the previous one with one click more."""
    return (before.points, before.labels, before.granularity) == (
        prompt.points[:-1],
        prompt.labels[:-1],
        prompt.granularity,
    )
