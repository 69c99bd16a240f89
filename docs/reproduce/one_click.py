"""Keep the answers to a click on the largest mask per image: ``one_click.py SET ANSWERS OUT``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

IMAGES = 6


def main(truth: str, source: str, target: str) -> None:
    """Write the first images of a file of answers, each with those to one of its clicks."""
    found = json.loads(Path(source).read_bytes())
    found["images"] = found["images"][:IMAGES]
    largest = {image["id"]: (0, None) for image in found["images"]}
    for one in json.loads(Path(truth).read_bytes())["annotations"]:
        if one["image_id"] in largest and not one.get("iscrowd"):
            size = (one["area"], one["id"])
            largest[one["image_id"]] = max(largest[one["image_id"]], size, key=lambda pair: pair[0])
    clicked = {(image, mask) for image, (_, mask) in largest.items()}
    found["annotations"] = [
        one for one in found["annotations"] if (one["image_id"], one.get("target_id")) in clicked
    ]
    Path(target).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
