"""Looking at masks: a page to explore the hierarchy with, and pictures with masks drawn over them.

======================  =========================================================================
`report`                one self-contained HTML page for any number of images
`blocks`                the data of one image in the page, safe to embed
`overlays`              masks drawn over a photograph
`prompts`               the clicks and boxes that masks were prompted with
`files`                 pictures in, pictures with masks out
`hierarchy`             the masks of one image as a forest
`colours`               colours that distinguish a part from its whole
``report.html|css|js``  the page; ``masks.js`` decodes and draws masks in the browser
======================  =========================================================================
"""

from __future__ import annotations

from unsam_cli.view.files import image_loader, named, overlay_paths, write_overlays
from unsam_cli.view.overlays import draw_overlay
from unsam_cli.view.report import ReportSettings, write_report

__all__ = [
    "ReportSettings",
    "draw_overlay",
    "image_loader",
    "named",
    "overlay_paths",
    "write_overlays",
    "write_report",
]
