"""Every error that a user can cause, each with its exit code.

A message is one line: what is wrong, in which file and record, and what to do next. Exit codes
follow ``sysexits.h`` where it has one. The single boundary that prints them is in
:mod:`unsam_cli.cli`.
"""

from __future__ import annotations

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_SKIPPED = 3
EXIT_DATA = 65
EXIT_NO_INPUT = 66
EXIT_IO = 74
EXIT_STOPPED = 75
EXIT_SIGINT = 130
EXIT_SIGPIPE = 141


class UnsamError(Exception):
    """Root of all errors raised on purpose; `exit_code` is what the process returns."""

    exit_code = EXIT_FAILURE


class UsageError(UnsamError, ValueError):
    """An option has a value that cannot work."""

    exit_code = EXIT_USAGE


class DataError(UnsamError, ValueError):
    """An input exists but its content is invalid."""

    exit_code = EXIT_DATA


class ImageFileError(DataError):
    """An image cannot be decoded, or lies about itself."""


class FeatureFileError(DataError):
    """A features file is damaged, incomplete or of an unknown version."""


class MaskFileError(DataError):
    """A masks file is not COCO, or one of its records is invalid."""


class CheckpointError(DataError):
    """Weights do not fit the model."""


class MissingInputError(UnsamError, FileNotFoundError):
    """A named input does not exist."""

    exit_code = EXIT_NO_INPUT


class WeightsUnavailableError(MissingInputError):
    """Weights are neither in the cache nor downloadable."""


class OutputError(UnsamError, OSError):
    """An output cannot be written."""

    exit_code = EXIT_IO


class StoppedError(UnsamError):
    """A signal asked to stop; the state is saved."""

    exit_code = EXIT_STOPPED
