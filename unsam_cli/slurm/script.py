"""The text of a batch script: stages of the pipeline as an array of shards, or a training."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from string import Template

from unsam_cli.errors import UsageError
from unsam_cli.slurm.settings import Job
from unsam_cli.slurm.stages import TRAININGS, JobStep, Stage, plan


class _Bash(Template):
    """A script with ``%{name}`` for what is filled in: the dollars are its own."""

    delimiter = "%"


# 138 and 143 are SIGUSR1 and SIGTERM that came before the program could listen to them.
# Slurm 22.05 and later do not hand --cpus-per-task on to srun.
_SCRIPT = _Bash("""\
#!/bin/bash
# %{title}: printed by unsam slurm-script.
# Options of sbatch override the lines that begin with #SBATCH.
#
%{usage}
#
#SBATCH --job-name=unsam
%{directives}
# A job that goes back into the queue goes on with its log.
#SBATCH --requeue
#SBATCH --open-mode=append
# Two minutes before the time is up: save, and go back into the queue.
#SBATCH --signal=USR1@120
set -euo pipefail

%{settings}
code=0

# A command as a step of the job: steps get Slurm's signals at once, this script does not.
step() {
  local status=0
  srun --cpus-per-task="$SLURM_CPUS_PER_TASK" \\
    "${program[@]}" "$@" --resume --jobs "$SLURM_CPUS_PER_TASK" || status=$?
  case $status in
    0) ;;
    3) code=3 ;; # some images were skipped: see *.errors.jsonl
    75 | 138 | 143) # stopped by a signal, what was done is saved: back into the queue
      scontrol requeue "%{job}" && sleep 60
      exit 75 ;;
    *) exit "$status" ;;
  esac
}

%{work}
exit "$code"
""")
_UNFIT = ("Cc", "Cs", "Zl", "Zp")  # control characters, bytes that are not UTF-8, ends of lines
_SCRATCH = """\
scratch=$(mktemp -d "${TMPDIR:-/tmp}/unsam.XXXXXX") # on the node; features stay here
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch"""
_SWEPT = """\
# Lists of skipped images outlive the features.
sweep() {
  find "$scratch" -name '*.errors.jsonl' -exec mv {} "$out" ';'
  rm -rf "${scratch:?}"/*
}
trap 'sweep; rm -rf "$scratch"' EXIT"""


def batch_script(stages: Sequence[Stage], job: Job) -> str:
    """Return a script for ``sbatch``.

    Parameters
    ----------
    stages : sequence of Stage
        A part of the pipeline, or a training alone.
    job : Job
        What to run on, and what is asked for.

    Returns
    -------
    str
        A bash script. Interrupted, it saves, goes back into the queue, and continues.

    Raises
    ------
    UsageError
        The stages do not follow upon each other, what they need is missing, or a text has control
        characters.
    """
    _refuse_control_characters(stages, job)
    if any(stage.command in TRAININGS for stage in stages):
        return _training(stages, job)
    return _array(stages, job)


def _refuse_control_characters(stages: Sequence[Stage], job: Job) -> None:
    """Refuse text that would end a comment or an sbatch option, so that bash would run the rest."""
    values = {**vars(job), "stage": [w for s in stages for w in s.options]}
    for name, value in values.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and any(unicodedata.category(c) in _UNFIT for c in text):
                raise UsageError(
                    f"{name} {text!r:.80}: a batch script must be UTF-8 without control characters"
                )


def _array(stages: Sequence[Stage], job: Job) -> str:
    steps = plan(stages)
    if not any(step.wants_images for step in steps):
        job = replace(job, images=None)
    elif job.images is None:
        raise UsageError("give --images; conquer needs them, too, for the features of objects")
    if job.nodes != 1:
        raise UsageError(
            "--nodes is for trainings; remove it, because an array uses the nodes that are free"
        )
    tasks = min(job.tasks or job.shards, job.shards)
    inside = _program(job, bind='--bind "$scratch" ')
    merge = f"{_program(job)} {_merge(steps[-1].target, job.output)}"
    scratch = f"{_SCRATCH}\n{_SWEPT}" if _inner(steps) else _SCRATCH
    return _SCRIPT.substitute(
        title=f"{', '.join(stage.command for stage in stages)} in {job.shards} shards",
        usage="#   job=$(sbatch --parsable THIS_FILE)\n"
        f"#   sbatch --dependency=afterok:$job --wrap={shlex.quote(merge)}",
        directives=_directives([f"--array=0-{tasks - 1}", *job.options()]),
        settings=f"{_folders(job)}\nshards={job.shards} tasks={tasks}\n{scratch}\n"
        f"program=({inside})",
        job="${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID",
        work="\n".join(_loop(steps)),
    )


def _training(stages: Sequence[Stage], job: Job) -> str:
    stage, *more = stages
    if more:
        plan(stages)  # which says why not
    if job.images is None:
        raise UsageError(f"give --images: {stage.command} reads them")
    processes = max(job.gpus, 1)
    shape = [f"--nodes={job.nodes}", f"--ntasks-per-node={processes}"]
    return _SCRIPT.substitute(
        title=f"{stage.command} with {job.nodes * processes} processes",
        usage="#   sbatch THIS_FILE",
        directives=_directives([*shape, *job.options()]),
        settings=f"{_folders(job)}\nprogram=({_program(job)})",
        job="$SLURM_JOB_ID",
        work=f'step {_words(stage)} --images "$images" -o "$out"',
    )


def _directives(options: list[str]) -> str:
    return "\n".join(f"#SBATCH {option}" for option in options)


def _folders(job: Job) -> str:
    images = "" if job.images is None else f"images={shlex.quote(job.images)}\n"
    return f'{images}out={shlex.quote(job.output)}\nmkdir -p "$out"'


def _program(job: Job, bind: str = "") -> str:
    if job.container is None:
        return "unsam"
    nv = "--nv " if job.gpus else ""
    return f"apptainer exec {bind}{nv}{shlex.quote(job.container)} unsam"


def _merge(target: str, output: str) -> str:
    """Return the command that joins the outputs of the tasks."""
    file = PurePath(target)
    parts = f"{shlex.quote(output)}/{file.stem}.*{file.suffix}"
    return f"merge {parts} -o {shlex.quote(f'{output}/{target}')}"


def _loop(steps: Sequence[JobStep]) -> list[str]:
    """Return a loop over shards that computes the missing ones.

    Lists of skipped images tell which shards count as ones with code 3, whichever turn made them.
    """
    inner = _inner(steps)
    lines = ["for ((k = SLURM_ARRAY_TASK_ID; k < shards; k += tasks)); do"]
    pending: list[str] = []
    for step in steps:
        if step.target in inner:
            pending.append(f"    rm -f {_errors(step)}")
        pending.append(f"    {_command(step, inner)}")
        if step.target not in inner:
            used = ["    sweep"] if len(pending) > 1 else []
            lines += [f"  if [ ! -e {_path(step.target, inner)} ]; then", *pending, *used, "  fi"]
            pending = []
    lines += [f"  if [ -e {_errors(step)} ]; then code=3; fi" for step in steps]
    return [*lines, "done"]


def _inner(steps: Sequence[JobStep]) -> set[str]:
    """Return the features between two stages of a job, which stay on the node."""
    return {step.target for step in steps[:-1] if step.target.endswith(".h5")}


def _errors(step: JobStep) -> str:
    """Return the list of the images that a step has skipped, where it stays."""
    return f'"$out/{_of_shard(step.target)}.errors.jsonl"'


def _command(step: JobStep, inner: set[str]) -> str:
    words = ["step", _words(step.stage)]
    if step.reads_images:
        words += ['"$images"'] if step.wants_images else []
        words.append('--shard "$k/$shards"')
        words += [f"--regions {_path(step.source, inner)} --whole-image"] if step.source else []
    elif step.source:
        words.append(_path(step.source, inner))
    return " ".join([*words, "-o", _path(step.target, inner)])


def _words(stage: Stage) -> str:
    return shlex.join([stage.command, *stage.options])


def _path(name: str, inner: set[str]) -> str:
    """Return a shard's file: features between two stages of a job stay on the node."""
    return f'"${"scratch" if name in inner else "out"}/{_of_shard(name)}"'


def _of_shard(name: str) -> str:
    file = PurePath(name)
    return f"{file.stem}.$k{file.suffix}"
