"""Print reports of ``unsam evaluate`` as tables: ``python tables.py REPORT.json...``.

A report is named after its set; reports on answers to clicks have the prefix ``clicks-``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

QUALITY = ("AR@1000", "AR@1000-small", "AR@1000-medium", "AR@1000-large", "AP")
Rows = dict[str, dict[str, float]]


def table(head: str, rows: Rows) -> str:
    """Return a table in percent, with one row per model."""
    columns = list(next(iter(rows.values())))
    lines = [f"| {head} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = ["-" if row[c] is None else f"{100 * row[c]:.1f}" for c in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_model(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the metrics of each model, by the name of its file of predictions."""
    return {Path(one["name"]).stem: one["metrics"] for one in report["files"]}


def across(reports: dict[str, dict[str, Any]], metric: str) -> Rows:
    """Return a metric by model and set; the mean over sets comes first."""
    rows: Rows = {}
    for name, report in reports.items():
        for model, metrics in by_model(report).items():
            rows.setdefault(model, {"mean": 0.0})[name] = metrics[metric]
    for row in rows.values():
        row["mean"] = sum(row.values()) / (len(row) - 1)
    return rows


def main(paths: list[str]) -> None:
    """Print the tables."""
    reports = {Path(path).stem: json.loads(Path(path).read_bytes()) for path in paths}
    quality = reports.pop("pseudo-masks")
    made = by_model(quality) if "files" in quality else {"pseudo-masks": quality["metrics"]}
    print("## Pseudo-masks against labels\n")
    print(table("", {stem: {name: row[name] for name in QUALITY} for stem, row in made.items()}))
    print("\n## All masks of an image: AR@1000\n")
    whole = {name: report for name, report in reports.items() if report["protocol"] != "point"}
    print(table("", across(whole, "AR@1000")))
    for name, report in reports.items():
        if report["protocol"] == "point":
            print(f"\n## One click: {name.removeprefix('clicks-')}\n")
            models = by_model(report).items()
            print(table("", {model.removeprefix("clicks-"): m for model, m in models}))


if __name__ == "__main__":
    main(sys.argv[1:])
