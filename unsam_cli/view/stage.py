"""The whole of ``unsam view``: masks in, a report and overlays out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from unsam_cli.errors import EXIT_SKIPPED, UnsamError
from unsam_cli.io.masks import read_masks
from unsam_cli.run.inputs import local_file
from unsam_cli.run.output import check_output, publish
from unsam_cli.view.files import image_loader, write_overlays
from unsam_cli.view.report import ReportSettings, write_report

logger = logging.getLogger(__name__)


class _Skipped:
    """Collects images that cannot be shown; calling it logs each once."""

    def __init__(self) -> None:
        self.ids: set[object] = set()

    def __call__(self, image: dict[str, Any], error: UnsamError) -> None:
        if image.get("id") not in self.ids:
            logger.warning("skipped %s: %s", image.get("file_name", image.get("id")), error)
        self.ids.add(image.get("id"))


def view(
    masks: str,
    images: Path,
    *,
    output: str | None,
    no_clobber: bool,
    overlays: Path | None,
    depth: int | None,
    on_error: str,
) -> int:
    """Write a report, overlays, or both.

    Parameters
    ----------
    masks : str
        A masks file of any form; ``-`` is standard input.
    images : Path
        Folder of the images.
    output : str, optional
        Where the report goes; ``-`` is standard output.
    no_clobber : bool
        Refuse to replace an existing report.
    overlays : Path, optional
        Folder for one PNG an image.
    depth : int, optional
        How deep into the hierarchy overlays show masks.
    on_error : {'fail', 'skip'}
        What an image that cannot be read does.

    Returns
    -------
    int
        The exit code: 0, or 3 when images were skipped.

    Raises
    ------
    UnsamError
        An input is missing or invalid, or an output cannot be written.
    """
    if output is not None:
        check_output(output, binary=False, no_clobber=no_clobber)
    skipped = _Skipped()
    handler = skipped if on_error == "skip" else None
    with local_file(masks) as path:
        found = read_masks(path)
        if output is not None:
            settings = ReportSettings(title="masks" if masks == "-" else Path(masks).name)
            loader = image_loader(images, longest=settings.longest)

            def write(target: Path) -> None:
                with target.open("wb") as stream:
                    pages = found.image_masks()
                    write_report(pages, loader, stream, settings=settings, on_error=handler)

            publish(output, write)
        if overlays is not None:
            loader = image_loader(images)
            write_overlays(found.image_masks(), loader, overlays, depth=depth, on_error=handler)
    return EXIT_SKIPPED if skipped.ids else 0
