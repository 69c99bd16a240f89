"""Settings that commands share; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Literal

from unsam_cli.run.image_list import list_identity
from unsam_cli.run.items import Item
from unsam_cli.run.output import STDOUT
from unsam_cli.run.progress import LineReporter, ReporterFactory
from unsam_cli.run.provenance import Step
from unsam_cli.run.replacing import Places, refuse_replacing
from unsam_cli.run.resources import usable_cpus
from unsam_cli.run.shards import WHOLE, Parts, Shard
from unsam_cli.settings import Settings, device_setting, setting

writing = partial(setting, group="Output", results=False)
running = partial(setting, group="Run", results=False)
computing = partial(setting, group="Compute", results=False)
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Compute(Settings):
    """Where and how a network computes."""

    device: str = device_setting()
    dtype: str = setting("float32", "Precision of the network.", choices=DTYPES, group="Compute")
    batch_size: int = computing(8, "Inputs per network batch, on a GPU.", least=1)


@dataclass(frozen=True)
class RunSettings(Settings):
    """Settings of a run that all commands share.

    Parameters
    ----------
    step : Step
        The command and its options, for the history in the output.
    report : callable
        Creates a progress reporter from the name of a stage and the number of items.
    source : Parts
        The parts of an earlier run that the list of images comes from, see :meth:`within`.
    reads : tuple of callable
        Functions that return the input files, see :meth:`reading`.
    told_as : str
        What messages call the output, if it is a temporary file that stands for another.
    """

    step: Step
    kind: Literal["coco", "results", "ndjson"] = writing(
        "coco",
        "A full COCO object, the bare list of annotations, or one annotation per line.",
        option="format",
        choices=("coco", "results", "ndjson"),
    )
    output: str = writing(STDOUT, "Output file; - is standard output.", short="-o", metavar="PATH")
    no_clobber: bool = writing(False, "Refuse to replace an existing output.")
    resume: bool = running(
        False, "Keep the finished images of an interrupted run and compute the rest."
    )
    shard: Shard = running(
        Shard(),
        "Process images K, K+N, K+2N, ...; slurm takes K and N from the Slurm task.",
        metavar="K/N|slurm",
    )
    on_error: Literal["fail", "skip"] = running(
        "fail",
        "fail: stop at the first bad image. skip: leave out bad images and bad masks, list them in "
        "OUTPUT.errors.jsonl, and exit with 3.",
        choices=("fail", "skip"),
    )
    seed: int = setting(0, "Seed of all random numbers.", group="Run", least=0)
    jobs: int = computing(
        usable_cpus,
        "Number of worker threads.",
        least=1,
        default_text="the CPUs this process may use",
    )
    report: ReporterFactory = LineReporter
    source: Parts = WHOLE
    reads: tuple[Callable[[], Places], ...] = ()
    told_as: str = ""

    def with_inputs(self, **inputs: str) -> RunSettings:
        """Return a copy whose history also names `inputs` by their identities."""
        return replace(self, step=self.step.with_inputs(**inputs))

    def within(self, source: Parts) -> RunSettings:
        """Return a copy for images that come from a shard of an earlier stage."""
        return replace(self, source=source)

    def marks(self, items: Sequence[Item]) -> dict[str, str]:
        """Return the marks of the output as a shard of the run of `items`; empty for a whole run.

        They let ``merge`` detect a missing shard, or a shard of another list of images.
        """
        parts = self.source.cut(self.shard)
        if parts.missing and not self.source.missing:
            parts = replace(parts, image_list=list_identity(items))
        return parts.marks

    def reading(self, files: Callable[[], Places]) -> RunSettings:
        """Return a copy for a run that reads `files`, which its output must not replace.

        They are evaluated only if a part of the output exists, before the output is touched.
        """
        return replace(self, reads=(*self.reads, files))

    def refuse_replacing(self, writes: Places) -> None:
        """Raise a UsageError if a file of `writes` is also an input."""
        refuse_replacing(writes, chain.from_iterable(files() for files in self.reads))
