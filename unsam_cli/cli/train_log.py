"""Progress of a training on stderr; see :mod:`unsam_cli.cli.log`."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from unsam_cli.cli.log import BarReporter, reporter_factory
from unsam_cli.training.progress import TrainingLines, TrainingReporterFactory, duration

if TYPE_CHECKING:
    from rich.table import Table


class TableReporter(TrainingLines):
    """A live table on a terminal (rich), then the same last line as in a log."""

    def __enter__(self) -> TableReporter:
        from rich.console import Console
        from rich.live import Live

        self._tell_first()
        self.live = Live(
            get_renderable=self._table,
            console=Console(stderr=True),
            refresh_per_second=2,
            transient=True,
        )
        self.live.start()
        return self

    def advance(self, values: Mapping[str, float]) -> None:
        """Count a step; the table looks at it twice a second."""
        self.done += 1
        self.values = dict(values)

    def validated(self, values: Mapping[str, float]) -> None:
        """Show the results of a validation in the table."""
        self.validation = dict(values)

    def _table(self) -> Table:
        from rich.table import Table

        table = Table("", f"{self.stage}: step {self.done}/{self.total}")
        for name, value in self.values.items():
            text = f"{value / 2**20:.0f} MiB" if name == "memory" else f"{value:.4g}"
            table.add_row(name.replace("_", " "), text)
        if self.values:
            table.add_row("images/s", f"{self.speed():.3g}")
            table.add_row("time left", duration(self.seconds_left()))
        for name, value in self.validation.items():
            table.add_row(f"validation {name}", f"{value:.4g}")
        return table

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.live.stop()
        super().__exit__(kind, e, tb)


def training_reporter_factory(*, plain: bool) -> TrainingReporterFactory:
    """Choose how a training is shown: a live table needs a terminal, and `plain` forbids it."""
    return TableReporter if reporter_factory(plain=plain) is BarReporter else TrainingLines
