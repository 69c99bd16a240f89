"""The report as text: a table for a terminal, or lines of plain text for a pipe."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.table import Table

Rows = list[list[str]]


def as_text(report: dict[str, Any], *, terminal: bool) -> str:
    """Format a report as text.

    Parameters
    ----------
    report : dict
        Report from :func:`~unsam_cli.evaluation.report.build_report`.
    terminal : bool
        Use lines and colours for a terminal, or else plain columns.
    """
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, no_color=None if terminal else True)
    for title, rows in _tables(report):
        if terminal:
            console.print(title, style="bold", highlight=False, markup=False, soft_wrap=True)
            console.print(_drawn(rows))
        else:
            out.write(f"{title}\n{_plain(rows)}\n")
    return out.getvalue()


def _tables(report: dict[str, Any]) -> list[tuple[str, Rows]]:
    files = report.get("files", [{"name": "%", "metrics": report["metrics"]}])
    names = [f["name"] for f in files]
    rows = [["", *names]]
    differences = report.get("differences", [])
    if differences:
        rows[0] += [f"{d['name']} - {d['from']}" for d in differences]
    for metric in report["metrics"]:
        row = [metric, *(_value(f["metrics"][metric], metric) for f in files)]
        row += [_difference(d["metrics"][metric], metric) for d in differences]
        rows.append(row)
    tables = [(_title(report), rows)]
    for f in report.get("files", [report]):
        if "by" in f:
            tables.append(_by_table(f))
    return tables


def _title(report: dict[str, Any]) -> str:
    crowds = f", {report['crowds']} crowd regions" if report.get("crowds") else ""
    skipped = f" ({report['skipped']} skipped)" if report.get("skipped") else ""
    files = report.get("files", [report])
    predictions = " / ".join(str(f["predictions"]) for f in files)
    clicks = ", NoC in clicks" if any(map(_is_count, report["metrics"])) else ""
    differences = "; differences [95 % intervals]" if report.get("differences") else ""
    return (
        f"{report['protocol']}: {report['images']} images{skipped}, {report['ground_truths']} "
        f"ground truth masks{crowds}, {predictions} predictions; in %{clicks}{differences}"
    )


def _by_table(f: dict[str, Any]) -> tuple[str, Rows]:
    values = f["by"]["values"]
    metrics = list(next(iter(values.values()))["metrics"])
    shown = [m for m in metrics if m.startswith("AR") or m == "AP"]
    rows = [[f["by"]["key"], "masks", *shown]]
    for value, entry in values.items():
        cells = [_value(entry["metrics"][m], m) for m in shown]
        rows.append([value, str(entry["ground_truths"]), *cells])
    name = f" ({f['name']})" if "name" in f else ""
    return f"by {f['by']['key']}{name}", rows


def _is_count(metric: str) -> bool:
    return metric.startswith("NoC")


def _value(value: float | None, metric: str) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if _is_count(metric) else f"{100 * value:.2f}"


def _difference(interval: dict[str, float | None], metric: str) -> str:
    if interval["difference"] is None:
        return "-"
    scale = 1 if _is_count(metric) else 100
    text = f"{scale * interval['difference']:+.2f}"
    low, high = interval["low"], interval["high"]
    if low is None or high is None:
        return text
    return f"{text} [{scale * low:+.2f}, {scale * high:+.2f}]"


def _drawn(rows: Rows) -> Table:
    table = Table()
    for i, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def _plain(rows: Rows) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"
