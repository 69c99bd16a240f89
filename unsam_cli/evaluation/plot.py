"""Plot of the report: recall over IoU, and recall by size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unsam_cli.evaluation.metrics import SIZES


def draw(path: Path, report: dict[str, Any], *, kind: str) -> None:
    """Draw a report of whole images.

    Parameters
    ----------
    path : Path
        Path of the picture.
    report : dict
        Report from :func:`~unsam_cli.evaluation.report.build_report`.
    kind : {'png', 'svg'}
        Format of the picture.
    """
    import matplotlib
    from matplotlib.figure import Figure

    files = report.get("files", [{"name": "", **report}])
    # No dates or random ids, so that equal reports give equal pictures.
    with matplotlib.rc_context({"svg.hashsalt": "unsam"}):
        figure = Figure(figsize=(9, 4), layout="constrained")
        over_iou, by_size = figure.subplots(1, 2)
        _recall_over_iou(over_iou, files)
        _recall_by_size(by_size, files, _largest(report))
        if len(files) > 1:
            figure.legend(loc="outside lower center", ncols=min(len(files), 4))
        figure.savefig(path, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else {})


def _largest(report: dict[str, Any]) -> str:
    name = next(m for m in report["metrics"] if m.startswith("AR") and m.endswith("-small"))
    return str(name).removesuffix("-small")


def _recall_over_iou(axes: Any, files: list[dict[str, Any]]) -> None:
    for f in files:
        curve = f["recall_over_iou"]
        if curve["recall"] is not None:
            axes.plot(curve["iou"], curve["recall"], marker="o", label=f["name"])
    axes.set(xlabel="IoU", ylabel="recall", ylim=(0, 1), title="recall over IoU")
    axes.grid(alpha=0.3)


def _recall_by_size(axes: Any, files: list[dict[str, Any]], largest: str) -> None:
    names = [largest, *(f"{largest}-{size}" for size in SIZES)]
    width = 0.8 / len(files)
    for i, f in enumerate(files):
        heights = [f["metrics"][name] or 0.0 for name in names]
        places = [x + (i - (len(files) - 1) / 2) * width for x in range(len(names))]
        axes.bar(places, heights, width)
    axes.set_xticks(range(len(names)), ["all", *SIZES])
    axes.set(ylabel=largest, ylim=(0, 1), title="recall by size")
    axes.grid(alpha=0.3, axis="y")
