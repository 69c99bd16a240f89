"""Stages of the pipeline as steps of a job, and the files that each reads and writes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from unsam_cli.errors import UsageError


@dataclass(frozen=True)
class Stage:
    """A command of the pipeline with its options."""

    command: str
    options: tuple[str, ...] = ()

    @property
    def names_images(self) -> bool:
        """Whether its own options list the images and their ids."""
        said = {option.split("=")[0] for option in self.options}
        return not said.isdisjoint(("--coco", "--prompts-from"))


@dataclass(frozen=True)
class JobStep:
    """A stage with its files, named without folder and shard.

    Attributes
    ----------
    stage : Stage
        What runs.
    source : str or None
        What it reads, beside the images.
    target : str
        What it writes.
    """

    stage: Stage
    source: str | None
    target: str

    @property
    def reads_images(self) -> bool:
        """Whether it reads the images themselves."""
        return self.stage.command in ("extract-features", "predict")

    @property
    def wants_images(self) -> bool:
        """Whether it needs the list of images."""
        return self.reads_images and not self.stage.names_images


PIPELINES = (
    (
        JobStep(Stage("extract-features"), None, "features.h5"),
        JobStep(Stage("divide"), "features.h5", "objects.json"),
        JobStep(Stage("extract-features"), "objects.json", "regions.h5"),
        JobStep(Stage("conquer"), "regions.h5", "masks.json"),
    ),
    (JobStep(Stage("predict"), None, "predictions.json"),),
)
PARTS = tuple(
    pipeline[start:stop]
    for pipeline in PIPELINES
    for start in range(len(pipeline))
    for stop in range(start + 1, len(pipeline) + 1)
)
COMMANDS = ("extract-features", "divide", "conquer", "predict")
TRAININGS = ("train", "finetune-sam")


def parse_stage(text: str) -> Stage:
    """Read a stage such as ``divide --tau 0.2``.

    Raises
    ------
    UsageError
        Quotes without an end, or nothing that can be a stage.
    """
    try:
        name, *options = shlex.split(text) or [""]
    except ValueError as e:
        raise UsageError(f"stage {text!r}: {e}") from e
    if name not in COMMANDS + TRAININGS:
        raise UsageError(f"unknown stage {name!r}; choose one of {', '.join(COMMANDS + TRAININGS)}")
    return Stage(name, tuple(options))


def plan(stages: Sequence[Stage]) -> list[JobStep]:
    """Return the steps of one job: a part of the pipeline, from any stage to any later one.

    What the first step reads, a job of the stages before it has left. The features of objects,
    which ``conquer`` reads, are extracted in its own job; how, the last ``extract-features`` says.

    Raises
    ------
    UsageError
        The stages do not follow upon each other.
    """
    wanted = _with_regions(list(stages))
    for part in PARTS:
        if [step.stage.command for step in part] == [stage.command for stage in wanted]:
            return [replace(step, stage=stage) for step, stage in zip(part, wanted, strict=True)]
    said = ", ".join(stage.command for stage in stages)
    raise UsageError(
        f"stages {said}: give consecutive stages of extract-features, divide, conquer; or "
        f"one of predict, {', '.join(TRAININGS)}"
    )


def _with_regions(stages: list[Stage]) -> list[Stage]:
    """Insert the missing extraction of objects before ``conquer``."""
    if stages[-1].command != "conquer" or "extract-features" in [s.command for s in stages[-2:]]:
        return stages
    extractions = [stage for stage in stages if stage.command == "extract-features"]
    return [*stages[:-1], *(extractions or [Stage("extract-features")])[-1:], stages[-1]]
