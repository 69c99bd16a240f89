"""Batch scripts for Slurm: text, which a user reads, changes and submits."""

from unsam_cli.slurm.script import batch_script
from unsam_cli.slurm.settings import Job
from unsam_cli.slurm.stages import Stage, parse_stage

__all__ = ["Job", "Stage", "batch_script", "parse_stage"]
