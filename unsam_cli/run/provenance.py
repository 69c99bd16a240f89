"""Provenance of a file: the steps that made it, with all options that change results.

Shards, jobs, paths and times are left out. So merged shards equal a complete run byte for byte, and
two outputs can be compared by their bytes.
"""

from __future__ import annotations

import hashlib
import shlex
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unsam_cli import __version__
from unsam_cli.errors import UnsamError
from unsam_cli.io.files import file_identity, open_regular


@dataclass(frozen=True)
class Step:
    """One command in the history of a file.

    Parameters
    ----------
    command : str
        Name of the subcommand.
    options : dict
        All options that change results, including defaults, as plain JSON values.
    inputs : dict
        Identities (hashes or ids) of further inputs, such as weights.
    """

    command: str
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    def with_inputs(self, **inputs: str) -> Step:
        """Return a copy that also names `inputs`."""
        return replace(self, inputs={**self.inputs, **inputs})

    def with_options(self, values: Mapping[str, Any]) -> Step:
        """Return a copy in which options have the values in `values`, by parameter name."""
        named = {name.replace("_", "-"): value for name, value in values.items()}
        return replace(self, options={k: named.get(k, v) for k, v in self.options.items()})

    def command_line(self) -> str:
        """Return the command line of the step."""
        words = ["unsam", self.command]
        for name, value in self.options.items():
            if value is True:
                words.append(f"--{name}")
            elif value is not None and value is not False:
                words += [f"--{name}", str(value)]
        return shlex.join(words)

    def to_json(self) -> dict[str, Any]:
        """Return the step as it is stored in files."""
        return {
            "command": self.command_line(),
            "version": __version__,
            "options": dict(self.options),
            "inputs": dict(self.inputs),
        }


def plain(value: Any) -> Any:
    """Return the value of an option as the history has it: a list is a text with commas."""
    if isinstance(value, tuple | list):
        return ",".join(str(v) for v in value)
    return str(value) if isinstance(value, Path) else value


def checksum(path: Path, before: int | None = 0) -> int | None:
    """Return a checksum of the content of a file; None if it cannot be read.

    `before` is the checksum of earlier data, which is continued. If it is None, so is the result.
    """
    if before is None:
        return None
    found = before
    try:
        with open_regular(path) as stream:
            while chunk := stream.read(1 << 20):
                found = zlib.crc32(chunk, found)
    except (OSError, UnsamError):
        return None
    return found


def masks_identity(path: Path) -> str:
    """Return the identity of a masks file, or of all files of a folder of them."""
    if not path.is_dir():
        return file_identity(path)
    from unsam_cli.io.sources import json_files

    digest = hashlib.sha256()
    for file in json_files(path):
        digest.update(f"{file.name} {file_identity(file)}\n".encode())
    return f"sha256:{digest.hexdigest()[:16]}"
