from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from unsam_cli.io.masks import Annotation
from unsam_cli.view.overlays import draw_overlay
from unsam_cli.view.prompts import Asked, asked
from unsam_cli.view.report import ReportSettings, write_report
from unsam_cli.view.sets import Photograph

Make = Callable[..., Annotation]
BOX = (40, 60, 140, 150)
PROMPT = {"points": [[99, 119], [200, 20]], "labels": [1, 0], "box": [40, 60, 180, 210]}
GREEN, RED, YELLOW = (61, 220, 132), (255, 90, 95), (255, 216, 77)


def test_the_granularity_that_was_asked_for(make: Make) -> None:
    for told, found in [(0.3, 0.3), (1, 1.0), ("fine", None), (None, None)]:
        mask = make(1, BOX, extra={"prompt": PROMPT | {"granularity": told}})
        prompt = asked(mask, (240, 320))
        assert prompt is not None
        assert prompt.granularity == found


def test_prompts_are_scaled_to_the_picture(make: Make) -> None:
    mask = make(1, BOX, extra={"prompt": PROMPT})
    assert asked(mask, (240, 320)) == Asked(
        [(99.5, 119.5, 1), (200.5, 20.5, 0)], [40, 60, 180, 210]
    )
    assert asked(mask, (120, 160)) == Asked(
        [(49.75, 59.75, 1), (100.25, 10.25, 0)], [20, 30, 90, 105]
    )


@pytest.mark.parametrize(
    "prompt",
    [
        None,
        "here",
        {},
        {"points": [], "labels": []},
        {"points": [[1]], "labels": [1]},
        {"points": [["<b>", 2]], "labels": [1]},
        {"points": [[1, 2]]},
        {"points": 3, "labels": 4, "box": [1, 2, 3]},
        {"box": [1, 2, 3, float("nan")]},
        {"box": [1, 2, 3, 1e300]},
        {"box": [True, 2, 3, 4]},
    ],
)
def test_what_is_no_prompt_is_not_shown(
    make: Make, photo: NDArray[np.uint8], prompt: object
) -> None:
    mask = make(1, BOX, extra={"prompt": prompt, "prompt_id": 1})
    assert asked(mask, (240, 320)) is None
    np.testing.assert_array_equal(draw_overlay(photo, [mask]), draw_overlay(photo, [make(1, BOX)]))


def test_overlays_show_clicks_and_boxes(make: Make, photo: NDArray[np.uint8]) -> None:
    mask = make(1, BOX, extra={"prompt": PROMPT, "prompt_id": "a"})
    out = draw_overlay(photo, [mask])
    assert tuple(out[119, 99]) == GREEN
    assert tuple(out[20, 200]) == RED
    assert tuple(out[100, 40]) == YELLOW
    apart = (out != draw_overlay(photo, [make(1, BOX)])).any(axis=2)
    assert 0 < apart.sum() < 1000
    # The points of a search for all masks would hide the picture.
    searched = make(1, BOX, extra={"prompt": PROMPT})
    plain = draw_overlay(photo, [make(1, BOX)])
    np.testing.assert_array_equal(draw_overlay(photo, [searched]), plain)


def test_a_box_inside_out_is_not_drawn(make: Make, photo: NDArray[np.uint8]) -> None:
    mask = make(1, BOX, extra={"prompt": {"box": [180, 210, 40, 60]}, "prompt_id": 1})
    np.testing.assert_array_equal(draw_overlay(photo, [mask]), draw_overlay(photo, [make(1, BOX)]))


def test_the_report_holds_prompts(make: Make, photo: NDArray[np.uint8]) -> None:
    masks = [make(1, BOX, extra={"prompt": PROMPT, "prompt_id": 3}), make(2, BOX)]
    entry = Photograph({"id": 1, "file_name": "a.jpg"}, (masks,))
    out = io.BytesIO()
    write_report([entry], lambda image: photo, out, settings=ReportSettings(title="t"))
    text = out.getvalue().decode()
    block = text.partition('id="masks-0">')[2].partition("</script>")[0]
    found: list[dict[str, Any]] = json.loads(block)["sets"][0]
    by_id = {mask["id"]: mask for mask in found}
    assert by_id[1]["prompt"]["points"] == [[99.5, 119.5, 1], [200.5, 20.5, 0]]
    assert by_id[1]["extra"] == {"prompt_id": 3}
    assert "prompt" not in by_id[2]
