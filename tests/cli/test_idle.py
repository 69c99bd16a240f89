"""Options that have no effect beside others are refused; as defaults they are ignored."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from support import Invoke

from unsam_cli.cli.idle import RULES
from unsam_cli.cli.program import cli

IDLE = [
    ("extract-features x --device gpu", "--device"),
    ("extract-features x --device cuda", "--device"),
    ("extract-features x --dtype bfloat16", "--dtype"),
    ("extract-features x --facet query", "--facet"),
    ("extract-features x --whole-image", "--whole-image"),
    ("extract-features x --image-root .", "--image-root"),
    ("extract-features x --backbone sam --weights x --size 128", "--size"),
    ("divide x --min-score 0.5", "--min-score"),
    ("divide --detections x --tau 0.2", "--tau"),
    ("divide --detections x --device cuda", "--device"),
    ("conquer x --refine none --images .", "--images"),
    ("conquer x --preset paper --max-masks 3", "--max-masks"),
    ("conquer x --page 2", "--page"),
    ("merge a b --max-iou 0.5", "--max-iou"),
    ("merge a b --ranked", "--ranked"),
    ("view x --depth 2", "--depth"),
    ("evaluate a b --bootstrap 5", "--bootstrap"),
    ("evaluate a b --protocol point --max-dets 5", "--max-dets"),
    ("convert lvis x --components", "--components"),
    ("convert lvis x --order file", "--order"),
    ("convert lvis x --tolerance 1", "--tolerance"),
    ("convert --to yolo x --format ndjson", "--format"),
    ("convert checkpoint x --max-iou 0.5", "--max-iou"),
    ("train x --images . -o r --validate-every 3", "--validate-every"),
    ("train x --images . -o r --lr-floor 0.1", "--lr-floor"),
    ("train x --images . -o r --architecture condinst --points 3", "--points"),
    ("finetune-sam x --images . --checkpoint x -o r --drops 3", "--drops"),
    ("finetune-sam x --images . --checkpoint x -o r --train all --lora-rank 3", "--lora-rank"),
    ("finetune-sam x --images . --checkpoint x -o r --union-iou 0.1", "--union-iou"),
    ("predict x y --image-root .", "--image-root"),
]


@pytest.mark.parametrize(("line", "option"), IDLE)
def test_an_option_that_does_nothing_is_refused(line: str, option: str, invoke: Invoke) -> None:
    ran = invoke(*line.split())
    assert ran.exit_code == 2, ran.stderr
    assert re.search(f"{option} has no effect (with|without|where) ", ran.stderr)
    assert len(ran.stderr.splitlines()) == 1


def test_a_default_that_does_nothing_is_ignored(invoke: Invoke, tmp_path: Path) -> None:
    words = ("divide", tmp_path / "none.h5")
    (tmp_path / "c.toml").write_text("[divide]\nmin-score = 0.5\n")
    told = "--min-score has no effect without --detections"
    for given, env, where in [
        ((), {"UNSAM_DIVIDE_MIN_SCORE": "0.5"}, "UNSAM_DIVIDE_MIN_SCORE"),
        (("--config", tmp_path / "c.toml"), {}, "c.toml: [divide] min-score"),
    ]:
        ran = invoke(*words, *given, **env)
        assert (ran.exit_code, len(ran.stderr.splitlines())) == (66, 1), ran.stderr
        assert f"{where}: {told}" in invoke(*words, *given, "-vv", **env).stderr


@pytest.mark.parametrize("name", RULES)
def test_rules_are_of_options_that_there_are(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    known = {parameter.name for parameter in command.params}
    assert {option for rule in RULES[name] for option in rule.names.split()} <= known
