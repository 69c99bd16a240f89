"""Looking at masks: a page to explore the hierarchy with, and pictures with masks drawn over them.

======================  =========================================================================
`sets`                  several masks files over the same photographs
`agreement`             masks of several files that show the same object, and their colours
`report`                one self-contained HTML page for any number of images
`blocks`                the data of one image in the page, safe to embed
`overlays`              masks drawn over a photograph
`prompts`               the clicks and boxes that masks were prompted with
`files`                 pictures in, pictures with masks out
`hierarchy`             the masks of one image as a forest
`colours`               colours that distinguish a part from its whole
``report.html|css``     the page
``masks.js page.js``    decode and draw masks in the browser; the data of the page
``cut.js panes.js``     what the slider shows; the pictures side by side, and the pointer
``details.js``          the panel and the list of images
``report.js``           opens images; search, keys, controls
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
