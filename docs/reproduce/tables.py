"""Print the tables of the paper from reports of ``unsam evaluate``: ``tables.py REPORT.json...``.

Below our figures are the published ones of ``published.json``, and the difference. A report is
named after its set: ``coco.json``, ``clicks-coco-panoptic.json`` (answers to clicks),
``pseudo-masks.json``.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

PUBLISHED = json.loads(Path(__file__).with_name("published.json").read_bytes())

SETS = {
    "coco": "COCO",
    "lvis": "LVIS",
    "ade20k": "ADE20K",
    "entityseg": "EntitySeg",
    "sa1b": "SA-1B",
    "partimagenet": "PartImageNet",
    "paco": "PACO",
}
SIZES = {
    "AR@1000": "AR@1000",
    "AR@1000-small": "small",
    "AR@1000-medium": "medium",
    "AR@1000-large": "large",
}
_SUBSET = re.compile(r"unsam-(\d+)")
KINDS = {
    "whole": "the sets, such as 'sam-own unsam-1'",
    "clicked": "the clicks, such as 'sam promptable'",
    "refined": "the pseudo-masks, such as 'none crf'",
}
Figures = dict[str, float | None]
"""Figures in percent, by column."""


class Row(NamedTuple):
    """What a row of ours is called, and the published row that it reproduces, if any."""

    label: str
    published: str | None = None


ROWS = {
    "sam": Row("SAM", "SAM"),
    "sam-semantic": Row("SAM, settings of Semantic-SAM", "SAM"),
    "sam-own": Row("SAM, its own settings", "SAM"),
    "unsam-4": Row("UnSAM, every 4th image", "UnSAM, 0.1 M images"),
    "unsam-2": Row("UnSAM, every 2nd image", "UnSAM, 0.2 M images"),
    "unsam-1": Row("UnSAM, all images", "UnSAM, 0.4 M images"),
    "unsam-published": Row("UnSAM, published checkpoint", "UnSAM, 0.4 M images"),
    "unsam-plus": Row("UnSAM+", "UnSAM+, 0.1 M images"),
    "unsam-plus-published": Row("UnSAM+, published checkpoint", "UnSAM+, 0.1 M images"),
    "promptable": Row("UnSAM, SAM trained here", "UnSAM, 0.1 M images"),
    "promptable-plus": Row("UnSAM+, SAM trained here", "UnSAM+, 0.1 M images"),
    "promptable-published": Row("UnSAM, published checkpoint", "UnSAM, 0.1 M images"),
    "promptable-plus-published": Row("UnSAM+, published checkpoint", "UnSAM+, 0.1 M images"),
    "none": Row("ours, not refined"),
    "guided": Row("ours, guided filter"),
    "crf": Row("ours, CRF", "UnSAM, CRF"),
    "cascadepsp": Row("ours, CascadePSP", "UnSAM, CascadePSP"),
}


def named(row: str) -> Row:
    """Return how a row is called; one that the paper lacks is ``unsam-8``, of every 8th image."""
    subset = _SUBSET.fullmatch(row)
    return ROWS.get(row) or Row(f"UnSAM, every {subset[1]}th image" if subset else row)


def of_rows(report: dict[str, Any], rows: list[str]) -> dict[str, Figures]:
    """Return the figures of a report, which lists its files in the order of `rows`."""
    files = [one["metrics"] for one in report.get("files", [report])]
    return {
        row: {name: None if value is None else 100 * value for name, value in metrics.items()}
        for row, metrics in zip(rows, files, strict=True)
    }


def recall(reports: dict[str, dict[str, Figures]]) -> dict[str, Figures]:
    """Return AR@1000 by row and set; the mean is there only if all seven sets are."""
    rows: dict[str, Figures] = {}
    for name, models in reports.items():
        for row, figures in models.items():
            rows.setdefault(row, {})[name] = figures["AR@1000"]
    for figures in rows.values():
        known = [figures[name] for name in SETS if figures.get(name) is not None]
        if len(known) == len(SETS):
            figures["mean"] = sum(value for value in known if value is not None) / len(known)
    return rows


def lines(
    ours: dict[str, Figures], published: dict[str, Figures], columns: list[str]
) -> Iterator[list[str]]:
    """Yield the cells of each line: label, kind, figures."""

    def line(label: str, kind: str, values: list[float | None], sign: str = "") -> list[str]:
        return [label, kind, *("-" if v is None else f"{v:{sign}.1f}" for v in values)]

    used = {named(row).published for row in ours}
    for label, theirs in published.items():
        if label not in used:
            yield line(label, "published", [theirs.get(column) for column in columns])
    for row, figures in ours.items():
        label, name = named(row)
        mine = [figures.get(column) for column in columns]
        yield line(label, "ours", mine)
        if name in published:
            theirs = [published[name].get(column) for column in columns]
            yield line("", "published", theirs)
            pairs = zip(mine, theirs, strict=True)
            less = [None if a is None or b is None else a - b for a, b in pairs]
            yield line("", "difference", less, "+")


def table(
    title: str, ours: dict[str, Figures], published: dict[str, Figures], columns: dict[str, str]
) -> str:
    """Return a table with a title; its columns are aligned, to be read as text, too."""
    names = ["", "", *columns.values()]
    rows = list(lines(ours, published, list(columns)))
    widths = [max(len(row[i]) for row in [names, *rows]) for i in range(len(names))]

    def draw(cells: list[str]) -> str:
        left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
        return "| " + " | ".join([*left, *right]) + " |"

    rule = ["-" * width for width in widths[:2]]
    rule += ["-" * (width - 1) + ":" for width in widths[2:]]
    return "\n".join([f"## {title}", "", draw(names), draw(rule), *map(draw, rows)])


def tables(reports: dict[str, dict[str, Figures]]) -> Iterator[str]:
    """Yield the tables for which there are reports, in the order of the paper."""
    sets = {name: reports[name] for name in SETS if name in reports}
    every, paper = recall(sets), PUBLISHED["recall"]
    columns = {"mean": "mean", **SETS}
    alone = {row: f for row, f in every.items() if not row.startswith("unsam-plus")}
    smallest = [row for row in every if _SUBSET.fullmatch(row)][:1]
    beside = {row: f for row, f in every.items() if not _SUBSET.fullmatch(row) or row in smallest}
    first = {name: f for name, f in paper.items() if not name.startswith("UnSAM+")}
    used = {"SAM", "UnSAM, 0.1 M images", *(named(row).published for row in beside)}
    second = {name: f for name, f in paper.items() if name in used}
    if sets:
        yield table("Table 1. UnSAM without labels: AR@1000", alone, first, columns)
        yield table("Table 2. SAM, UnSAM and UnSAM+: AR@1000", beside, second, columns)
    if "pseudo-masks" in reports:
        title = "Table 3. Pseudo-masks against labels: AR@1000, and by size of the mask"
        yield table(title, reports["pseudo-masks"], PUBLISHED["pseudo-masks"], SIZES)
    if "sa1b" in sets:
        title = "Table 4. SA-1B: AP, and AR@1000 by size of the mask"
        yield table(title, sets["sa1b"], PUBLISHED["sa1b"], {"AP": "AP", **SIZES})
    for name, models in reports.items():
        if name.startswith("clicks-"):
            clicked = name.removeprefix("clicks-").replace("coco-", "COCO ")
            title = (
                f"Table 5. One click on {clicked}: mean IoU of the mask with "
                "the best score (Max), and of the best mask (Oracle)"
            )
            columns = {"1-IoU-max": "Max", "1-IoU-oracle": "Oracle"}
            yield table(title, models, PUBLISHED["click"], columns)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT.json")
    for kind, of in KINDS.items():
        parser.add_argument(f"--{kind}", default="", metavar="ROWS", help=f"rows of {of}")
    parser.add_argument("--note", help="a warning above the tables")
    given = parser.parse_args()
    if given.note:
        print(f"**{given.note}**\n")
    print(f"All figures are in percent. Published: {PUBLISHED['source']}.")
    reports = {}
    for path in given.reports:
        kind = "clicked" if path.stem.startswith("clicks-") else "whole"
        kind = "refined" if path.stem == "pseudo-masks" else kind
        rows = vars(given)[kind].split()
        reports[path.stem] = of_rows(json.loads(path.read_bytes()), rows)
    for text in tables(reports):
        print(f"\n{text}")


if __name__ == "__main__":
    main()
