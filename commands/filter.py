"""unsam filter [MASKS.json] -o MASKS.json"""  # noqa: D400

from __future__ import annotations

from unsam_cli.cli import options
from unsam_cli.cli.settings import settings_options
from unsam_cli.convert.filter_settings import FilterSettings
from unsam_cli.run.settings import RunSettings


@options.command("filter", "Keep some of the masks of a file: by score, area, level, place.")
@options.file_argument("masks", "MASKS.json")
@settings_options("settings", FilterSettings)
@options.mask_run_options
def command(masks: str, settings: FilterSettings, run: RunSettings) -> int:
    """Write those masks of a file that meet all conditions.

    Reads a masks file in any form that lists its images, and writes COCO JSON. Ids, scores and
    other keys are kept. The parent of a mask is the nearest of its ancestors that is kept. An image
    without masks stays in the list of images.

    \b
      unsam filter masks.json --nms-iou 0.6 --max-masks 50 -o tidy.json
      unsam filter found.json --min-score 0.3 -o sure.json
      unsam conquer regions.h5 | unsam filter --granularity 0.4,1 > wholes.json
    """
    from unsam_cli.convert.filter import filter_masks

    return filter_masks(masks, settings, run)
