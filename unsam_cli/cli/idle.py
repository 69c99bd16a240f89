"""Options that have no effect beside others, for all commands.

On the command line such an option is a mistake of usage. In a file of defaults or in the
environment it is meant for other runs of the command, and is ignored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from unsam_cli.cli.defaults import origin
from unsam_cli.conquer.settings import UNGUIDED
from unsam_cli.convert.formats import CHECKPOINT, OUTLINED, Request, parse_request
from unsam_cli.errors import UsageError
from unsam_cli.models.settings import CONDINST
from unsam_cli.view.settings import RANDOM

logger = logging.getLogger(__name__)

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Idle:
    """Options of a command that have no effect.

    Parameters
    ----------
    names : str
        Of their parameters, with spaces between them.
    when : callable
        Tells by the values of all parameters whether they have no effect.
    why : str
        What follows "has no effect".
    """

    names: str
    when: Callable[[Values], bool]
    why: str


def _without(option: str, names: str) -> Idle:
    """Say that options need another one."""
    parameter = option.lstrip("-").replace("-", "_")
    return Idle(names, lambda values: not values[parameter], f"without {option}")


def _needs(name: str, wanted: str, names: str) -> Idle:
    """Say that options need a value of another one."""
    return Idle(names, lambda values: values[name] != wanted, f"without --{name} {wanted}")


def _builtin(values: Values) -> bool:
    return bool(values["backbone"] == "builtin")


def _elsewhere(values: Values) -> bool:
    return values["device"] not in ("auto", "cpu")


def _converted(test: Callable[[Request], bool]) -> Callable[[Values], bool]:
    return lambda values: test(parse_request(values["words"], values["to"]))


_TRAINING = (
    _without("--validate", "validate_images validate_every"),
    _needs("schedule", "step", "drops"),
    _needs("schedule", "cosine", "lr_floor"),
)
RULES: dict[str, tuple[Idle, ...]] = {
    "extract-features": (
        Idle(
            "device",
            lambda values: _builtin(values) and _elsewhere(values),
            "with --backbone builtin, which runs on the CPU",
        ),
        Idle(
            "dtype",
            lambda values: _builtin(values) and values["dtype"] != "float32",
            "with --backbone builtin, which has a precision of its own",
        ),
        Idle("facet layer", _builtin, "with --backbone builtin, which has no layers"),
        Idle(
            "size square region_size whole_image tile overlap project facet layer",
            lambda values: bool(values["backbone"] == "sam"),
            "with --backbone sam, which makes the features of its own decoder",
        ),
        _without("--regions", "whole_image region_size"),
        _without("--coco", "image_root"),
    ),
    "divide": (
        Idle(
            "weights",
            lambda values: values["refine"] != "cascadepsp",
            "without --refine cascadepsp",
        ),
        _without("--detections", "min_score"),
        Idle(
            "tau max_masks refine batch_size",
            lambda values: bool(values["detections"]),
            "with --detections: nothing is cut",
        ),
        Idle(
            "device",
            lambda values: bool(values["detections"]) and _elsewhere(values),
            "with --detections: nothing is cut",
        ),
    ),
    "conquer": (
        _without("--images", "exif page bands range"),
        Idle("images", lambda values: values["refine"] == "none", "with --refine none"),
        Idle("max_masks", lambda values: values["preset"] == "paper", "with --preset paper"),
        Idle(
            "images",
            lambda values: (values["preset"], values["refine"]) == UNGUIDED,
            "with --preset paper, whose masks are not guided",
        ),
        Idle(
            "weights",
            lambda values: values["refine"] != "cascadepsp",
            "without --refine cascadepsp",
        ),
    ),
    "refine": (
        _needs("method", "cascadepsp", "min_side crop colours weights batch_size"),
        Idle("max_side", lambda values: values["method"] == "guided", "with --method guided"),
        Idle(
            "device",
            lambda values: values["method"] != "cascadepsp" and _elsewhere(values),
            "without --method cascadepsp",
        ),
    ),
    "merge": (_without("--union", "max_iou ranked"),),
    "view": (
        Idle(
            "depth",
            lambda values: not (values["overlays"] or values["figure"]),
            "without --overlays or --figure",
        ),
        _without("--figure", "columns select ground_truth seed"),
        Idle("seed", lambda values: values["select"] != RANDOM, "without --select random"),
    ),
    "evaluate": (
        Idle(
            "bootstrap seed",
            lambda values: len(values["predictions"]) < 2,
            "with a single file of predictions: there are no differences",
        ),
        Idle("max_dets", lambda values: values["protocol"] == "point", "with --protocol point"),
    ),
    "convert": (
        Idle(
            "components background",
            _converted(lambda request: request.source_format != "labelmap"),
            "where the source is no labelmap",
        ),
        Idle(
            "order",
            _converted(lambda request: request.target != "labelmap"),
            "without --to labelmap",
        ),
        Idle(
            "tolerance",
            _converted(lambda request: request.target not in OUTLINED),
            f"without --to {', '.join(OUTLINED[:-1])} or {OUTLINED[-1]}",
        ),
        Idle(
            "format",
            _converted(lambda request: request.target not in ("coco", "polygons")),
            "without --to coco or polygons",
        ),
        Idle(
            "png",
            _converted(lambda request: request.source_format != "coco-panoptic"),
            "where the source is not coco-panoptic",
        ),
        Idle(
            "min_area max_iou images format",
            _converted(lambda request: request.source_format == CHECKPOINT),
            "with a checkpoint, which holds no masks",
        ),
    ),
    "train": (
        *_TRAINING,
        # With --init the network is another one, whose settings are not known here.
        Idle(
            "points no_object_weight drop_loss pixel_layers decoder_layers",
            lambda values: not values["init"] and values["architecture"] == CONDINST,
            "without --architecture mask2former or eomt",
        ),
        Idle(
            "short_side",
            lambda values: not values["init"] and bool(values["scale"]),
            "without --scale 0",
        ),
    ),
    "finetune-sam": (
        *_TRAINING,
        _without("--ground-truth", "union_iou"),
        _needs("train", "lora", "lora_rank lora_in"),
    ),
    "predict": (
        Idle(
            "image_root",
            lambda values: not values["coco"] and not values["prompts_from"],
            "without --coco or --prompts-from",
        ),
    ),
}


def is_idle(command: str, name: str, values: Values) -> bool:
    """Whether an option of a command would have no effect beside the values of all."""
    return any(rule.when(values) for rule in RULES[command] if name in rule.names.split())


def refuse_idle(context: click.Context) -> None:
    """Refuse options that were given and have no effect; ignore those of files and environment.

    Raises
    ------
    UsageError
        One of them was given on the command line.
    """
    for rule in RULES.get(context.info_name or "", ()):
        for parameter in context.command.params:
            name = parameter.name or ""
            if name not in rule.names.split():
                continue
            given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
            where = origin(context, parameter)
            if (given or where) and rule.when(context.params):
                text = f"--{name.replace('_', '-')} has no effect {rule.why}"
                if given:
                    raise UsageError(f"{text}; leave it out")
                logger.debug("%s: %s", where, text)
                default = parameter.to_info_dict()["default"]  # without click's mark for "none"
                context.params[name] = parameter.process_value(context, default)
