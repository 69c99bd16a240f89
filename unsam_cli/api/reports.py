"""AP and AR of masks against a ground truth: of arrays, of masks, or of files."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from unsam_cli.api.masks import Masks
from unsam_cli.api.options import settings_from
from unsam_cli.errors import UsageError
from unsam_cli.evaluation.settings import EvaluateSettings
from unsam_cli.evaluation.sinks import EvaluateOutputs
from unsam_cli.evaluation.stage import evaluate as evaluate_files
from unsam_cli.evaluation.table import as_text
from unsam_cli.rle import Rle, encode
from unsam_cli.run.progress import SilentReporter
from unsam_cli.run.provenance import Step
from unsam_cli.run.settings import RunSettings

OfOneImage: TypeAlias = Masks | NDArray[np.bool_]
MaskSource: TypeAlias = "str | os.PathLike[str] | OfOneImage | Sequence[OfOneImage]"


class Report(dict[str, Any]):
    """The report of an evaluation, as ``unsam evaluate -o`` writes it; ``print`` shows the table.

    ``report["metrics"]["AR@100"]`` is a metric, from 0 to 1, of one set of predictions; of several
    sets, ``report["files"]`` lists them with the metrics of each.
    """

    def __str__(self) -> str:
        return as_text(self, terminal=False).rstrip("\n")

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def evaluate(truth: MaskSource, *predictions: MaskSource, seed: int = 0, **options: Any) -> Report:
    """Compare masks with a ground truth by the COCO metrics, ignoring classes.

    Parameters
    ----------
    truth : path, Masks, (n, H, W) bool array, or sequence of Masks or arrays
        The ground truth: a masks file of any form, or the masks of one image, or of each image in
        turn.
    *predictions : as `truth`
        One or more sets of predictions. Those of arrays are ranked by their order, the best first.
    seed : int
        Seed of the bootstrap, with several sets.
    **options
        Options of ``unsam evaluate`` by name: `max_dets`, `by`, `match`, `score_key`, `protocol`,
        `bootstrap`.

    Returns
    -------
    Report
        A dictionary, which prints as a table.

    Raises
    ------
    UnsamError
        Masks are invalid, or truth and predictions do not belong together.

    Examples
    --------
    >>> import numpy as np, unsam_cli as unsam
    >>> truth = np.zeros((2, 40, 60), bool)
    >>> truth[0, :20], truth[1, 20:] = True, True
    >>> report = unsam.evaluate(truth, truth[:1])
    >>> report["metrics"]["AR@100"]
    0.5
    """
    if not predictions:
        raise UsageError("evaluate needs predictions: evaluate(truth, predictions)")
    settings = settings_from(EvaluateSettings, options)
    run = RunSettings(Step("evaluate", options), seed=seed, report=SilentReporter)
    with TemporaryDirectory(prefix="unsam-evaluate-") as folder:
        paths = [_path(s, Path(folder, _label(i))) for i, s in enumerate([truth, *predictions])]
        report, _ = evaluate_files(paths[0], paths[1:], settings, run, EvaluateOutputs())
    assert report is not None  # only a shard has none
    return Report(report)


def _label(index: int) -> str:
    return f"predictions {index}" if index else "ground truth"


def _path(source: Any, place: Path) -> str:
    """Return the path of a masks file; masks and arrays are written to one, at `place`."""
    if isinstance(source, str | os.PathLike):
        return str(source)
    images = [source] if isinstance(source, Masks | np.ndarray) else list(source)
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, one in enumerate(images, start=1):
        size, found = _content(one)
        entries.append({"id": image_id, "file_name": str(image_id), **size})
        for rle, score in found:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                    "score": score,
                }
            )
    place.write_bytes(orjson.dumps({"images": entries, "annotations": annotations}))
    return str(place)


def _content(one: Any) -> tuple[dict[str, int], list[tuple[Rle, float]]]:
    """Return the size of an image, and its masks with scores."""
    if isinstance(one, Masks):
        height, width = one.size
        found = [(mask.rle, 0.0 if mask.score is None else mask.score) for mask in one]
    else:
        array = np.asarray(one)
        if array.ndim != 3 or array.dtype != np.bool_:
            raise UsageError(
                f"masks of an image are (n, H, W) bool or Masks, not {array.shape} {array.dtype}"
            )
        n, height, width = array.shape
        found = [(encode(mask), (n - i) / n) for i, mask in enumerate(array)]
    return {"height": height, "width": width}, found
