"""What a file of ours is, which commands made it, and whether it is complete and undamaged."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unsam_cli.backbones.folder_config import read_json
from unsam_cli.errors import EXIT_DATA, DataError, MissingInputError, UnsamError
from unsam_cli.evaluation.partial import is_partial, read_part
from unsam_cli.io.files import open_regular
from unsam_cli.io.kinds import HEAD, kind_of
from unsam_cli.io.sources import zip_content

_MOST_DAMAGE = 20  # lines; the rest is counted
_EVALUATION = b'{\n  "protocol": '


@dataclass
class Report:
    """What is known of one file.

    Attributes
    ----------
    file : str
        Its name.
    kind : str
        What it is.
    facts : dict of str to str
        Further lines: what is counted, by name.
    history : list of str
        The commands that made it, the first one first.
    damage : list of str
        What is wrong, one line each; empty for a sound file.
    exit_code : int
        0; 65 for a damaged file; 66 if there is none.
    """

    file: str
    kind: str
    facts: dict[str, str] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    exit_code: int = 0

    def text(self) -> str:
        """Return the report as plain text, one fact per line."""
        lines = [f"{self.file}: {self.kind}"]
        rows = list(self.facts.items())
        rows += [("made by" if not i else "", line) for i, line in enumerate(self.history)]
        rows += [("damage" if not i else "", line) for i, line in enumerate(self.damage)]
        return "\n".join([*lines, *(f"  {name:9} {value}" for name, value in rows)])


def as_json(reports: list[Report]) -> str:
    """Return reports as a JSON list."""
    return json.dumps([asdict(report) for report in reports], indent=1, ensure_ascii=False)


def inspect(path: Path, *, full: bool = True) -> Report:
    """Describe a file or folder.

    Parameters
    ----------
    path : Path
        A features file, masks, an evaluation, a model, a training, or the ``.part`` folder of a run
        that was interrupted. Of any other file only the kind is told.
    full : bool
        Read all of it to find damage. Otherwise only the index is read.
    """
    if not path.exists():
        return Report(str(path), "no such file or folder", exit_code=MissingInputError.exit_code)
    report = Report(str(path), "a folder" if path.is_dir() else "a file")
    try:
        _describe(path, report, full)
    except UnsamError as error:
        _damaged(report, error)
    return report


def _describe(path: Path, report: Report, full: bool) -> None:
    if path.is_dir():
        return _describe_folder(path, report, full)
    with open_regular(path) as stream:
        head = stream.read(HEAD)
    kind = kind_of(head)
    report.kind = kind.words
    if kind.family == "hdf5":
        _features(path, report, full)
    elif is_partial(path):
        _evaluation_part(path, report)
    elif head.startswith(_EVALUATION):
        _evaluation(path, report)
    elif kind.family == "json" or head[:2] == b"\x1f\x8b" or _is_zip_of_json(path, report):
        _masks(path, report, full)
    return None


def _describe_folder(path: Path, report: Report, full: bool) -> None:
    kinds: list[tuple[str, Callable[[Path, Report], None]]] = [
        ("journal.ndjson", _interrupted),
        ("checkpoints", _training),
        ("config.json", _model),
    ]
    for name, describe in kinds:
        if (path / name).exists():
            return describe(path, report)
    if next(path.glob("*.json*"), None) is not None:
        _masks(path, report, full)
    return None


def _features(path: Path, report: Report, full: bool) -> None:
    from unsam_cli.io.features import FeatureFile

    report.kind = "features, HDF5"
    with FeatureFile(path) as file:
        about = file.attributes
        report.kind = f"features of {about.backbone}, HDF5"
        report.facts["images"] = str(len(file))
        patches = f"{file.patch_count} patches of {about.dim} numbers ({file.dtype})"
        report.facts["regions"] = f"{file.region_count}, {patches}"
        _shard(report, about.shard)
        report.history = _commands(about.history)
        for index in range(len(file)) if full else ():
            try:
                file.records(index)
            except UnsamError as error:
                _damaged(report, error)


def _masks(path: Path, report: Report, full: bool) -> None:
    from unsam_cli.io.masks import read_masks

    report.kind = "masks, COCO JSON"
    file = read_masks(path)
    own = file.info.get("unsam", {})
    counts = file.counts()
    empty = len(file.image_ids) - len(counts)
    report.facts["images"] = str(len(file.image_ids)) + (
        f", {empty} without masks" if empty else ""
    )
    report.facts["masks"] = str(len(file))
    _shard(report, str(own.get("shard", "")))
    report.history = _commands(own.get("history", []))
    if not full:
        return
    stages: Counter[str] = Counter()
    scores: list[float] = []
    for found in file.image_masks(lambda _, error: _damaged(report, error)):
        stages.update(a.stage for a in found.annotations if a.stage)
        scores += [a.score for a in found.annotations if a.score is not None]
    if stages:
        parts = ", ".join(f"{number} of {stage}" for stage, number in sorted(stages.items()))
        report.facts["masks"] += f": {parts}"
    if scores:
        report.facts["scores"] = f"{min(scores):.3g} to {max(scores):.3g}"


def _is_zip_of_json(path: Path, report: Report) -> bool:
    """Whether a file is a ZIP of one JSON file, as masks may be; of another, tell the content."""
    names, found = zip_content(path, str(path)) if report.kind == "a zip file" else ([], [])
    if names:
        report.facts["files"] = ", ".join([str(len(names)), *names[:3]])
    return len(found) == 1


def _evaluation_part(path: Path, report: Report) -> None:
    report.kind = "a part of an evaluation, JSON"
    part = read_part(path)
    report.facts["images"] = str(len(part.images))
    report.facts["shard"] = f"{part.parts.mark}; unsam merge joins shards"
    report.history = _commands(part.header.history)


def _evaluation(path: Path, report: Report) -> None:
    report.kind = "an evaluation, JSON"
    found = read_json(path, "run unsam evaluate again")
    report.facts["images"] = str(found.get("images"))
    for name, value in found.get("metrics", {}).items():
        if isinstance(value, float) and "-" not in name:
            report.facts[name] = f"{value:.3f}"
    report.history = _commands(found.get("unsam", {}).get("history", []))


def _interrupted(path: Path, report: Report) -> None:
    from unsam_cli.run.journal import finished_images

    target = path.with_suffix("")
    report.kind = f"an unfinished run; the same command with --resume completes {target}"
    report.facts["images"] = f"{finished_images(path)} finished"


def _training(path: Path, report: Report) -> None:
    if (path / "config.json").exists():
        _model(path, report)
        report.kind = f"a training, and its {report.kind.removeprefix('a ')}"
    else:
        report.kind = "a training without a model yet"
    steps = sorted(p.name for p in (path / "checkpoints").glob("step-*"))
    last = int(steps[-1].removeprefix("step-")) if steps else 0
    report.facts["step"] = f"{last} is the last checkpoint" if last else "no checkpoint yet"


def _model(path: Path, report: Report) -> None:
    config = read_json(path / "config.json", "copy the whole folder")
    report.kind = f"a model, {config.get('model_type', 'of an unknown type')}"
    weights = path / "model.safetensors"
    if not weights.exists():
        raise DataError(f"{weights}: no such file; copy the whole folder")
    report.facts["weights"] = _tensors(weights)
    with suppress(FileNotFoundError):
        about = json.loads((path / "unsam.json").read_text(encoding="utf-8"))
        report.history = _commands(about.get("history", []))


def _tensors(path: Path) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: damaged ({error}); copy or download it again") from error
    numbers = sum(map(math.prod, shapes))
    return f"{len(shapes)} tensors, {numbers / 1e6:.3g} million numbers"


def _shard(report: Report, shard: str) -> None:
    if shard:
        report.facts["shard"] = f"{shard}; unsam merge joins shards"


def _commands(history: Any) -> list[str]:
    steps: Iterator[Any] = iter(history if isinstance(history, list) else [])
    return [str(step["command"]) for step in steps if isinstance(step, dict) and "command" in step]


def _damaged(report: Report, error: UnsamError) -> None:
    report.exit_code = EXIT_DATA
    if len(report.damage) < _MOST_DAMAGE:
        report.damage.append(str(error))
    elif len(report.damage) == _MOST_DAMAGE:
        report.damage.append("and more")
