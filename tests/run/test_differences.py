"""How runs differ, in the words of the command line."""

from __future__ import annotations

from typing import Any

import pytest

from unsam_cli.run.differences import Difference, first_difference
from unsam_cli.run.provenance import Step

EXTRACT = Step(
    "extract-features", {"size": 640, "square": False, "project": None}, {"weights": "w"}
)
DIVIDE = Step("divide", {"tau": 0.15, "max-masks": 3})


def of(*steps: Step) -> dict[str, Any]:
    return {"history": [step.to_json() for step in steps]}


def changed(step: Step, **values: Any) -> Step:
    return Step(step.command, {**step.options, **values}, step.inputs)


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        (of(EXTRACT), of(changed(EXTRACT, size=320)), ("--size", "640", "320")),
        (of(EXTRACT), of(changed(EXTRACT, square=True)), ("--square", "not given", "given")),
        (of(EXTRACT), of(changed(EXTRACT, project=8)), ("--project", "not given", "8")),
        (
            of(EXTRACT, DIVIDE),
            of(changed(EXTRACT, size=320), DIVIDE),
            ("--size of extract-features", "640", "320"),
        ),
        (
            of(EXTRACT, DIVIDE),
            of(EXTRACT, changed(DIVIDE, tau=0.2)),
            ("--tau of divide", "0.15", "0.2"),
        ),
        (of(EXTRACT), of(EXTRACT.with_inputs(weights="x")), ("the weights", "w", "x")),
        (  # other weights come of another size
            of(EXTRACT),
            of(changed(EXTRACT, size=320).with_inputs(weights="x")),
            ("--size", "640", "320"),
        ),
        (
            of(DIVIDE.with_inputs(detections="a")),
            of(DIVIDE.with_inputs(detections="b")),
            ("what --detections holds", "a", "b"),
        ),
        (
            of(DIVIDE.with_inputs(**{"annotations-2": "a"})),
            of(DIVIDE.with_inputs(**{"annotations-2": "b"})),
            ("file 2 of the annotations", "a", "b"),
        ),
        (
            of(EXTRACT, DIVIDE),
            of(DIVIDE),
            ("the chain of commands", "extract-features | divide", "divide"),
        ),
        ({"history": []}, of(DIVIDE), ("the chain of commands", "empty", "divide")),
        ({"lr": 1}, {"lr": 2}, ("lr", "1", "2")),
        (of(Step("convert", {"format": "a b"})), of(Step("convert", {"format": "c"})),
         ("the format", "'a b'", "c")),
        (of(Step("x")), of(Step("x", {"fast": False})), ("--fast", "unknown", "not given")),
        (of(DIVIDE), of(DIVIDE), None),
    ],
)  # fmt: skip
def test_the_first_difference(
    old: dict[str, Any], new: dict[str, Any], difference: tuple[str, str, str] | None
) -> None:
    assert first_difference(old, new) == (difference and Difference(*difference))


def test_the_version_is_told_last() -> None:
    old, new = of(EXTRACT, DIVIDE), of(EXTRACT, DIVIDE)
    old["history"][0]["version"] = "0.1"
    new["history"][0]["version"] = "0.2"
    what = "the version of unsam of extract-features"
    assert first_difference(old, new) == Difference(what, "0.1", "0.2")
    new["history"][1]["options"]["tau"] = 0.3
    assert first_difference(old, new) == Difference("--tau of divide", "0.15", "0.3")


def test_a_training() -> None:
    trainer = {"steps": 6, "batch_size": 4, "drops": [0.5, 0.9]}
    step = {**Step("train", {"queries": 5}).to_json(), "trainer": trainer}
    longer = {**step, "trainer": {**trainer, "steps": 9}}
    assert first_difference(step, longer) == Difference("the number of steps", "6", "9")
    larger = {**step, "trainer": {**trainer, "batch_size": 8}}
    assert first_difference(step, larger) == Difference("--batch-size", "4", "8")
    earlier = {**step, "trainer": {**trainer, "drops": [0.4]}}
    assert first_difference(step, earlier) == Difference("--drops", "0.5,0.9", "0.4")


@pytest.mark.parametrize("damaged", [{"history": 3}, {"history": [None, 7]}, {}, {"history": [{}]}])
def test_what_is_damaged_differs(damaged: dict[str, Any]) -> None:
    assert first_difference(damaged, of(DIVIDE)) is not None
