"""Batch scripts for Slurm: text, which a user reads, changes and submits."""

from unsam_cli.slurm.resources import Resources
from unsam_cli.slurm.script import Job, batch_script
from unsam_cli.slurm.stages import Stage, parse_stage

__all__ = ["Job", "Resources", "Stage", "batch_script", "parse_stage"]
