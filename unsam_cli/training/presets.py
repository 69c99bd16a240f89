"""Presets of ``unsam train``: named defaults of its options; imports nothing heavy.

Options that a preset does not name have the paper's values.
"""

from __future__ import annotations

from typing import Any

DEFAULT = "small"
PRESET_HELP = (
    "Set of default values: paper (as published), small (one GPU) or tiny (two CPU cores)."
)

PRESETS: dict[str, dict[str, Any]] = {
    # 3.2 million samples, 8 epochs of 0.4 million images in steps of 16, as published for UnSAM.
    "paper": {"epochs": 8},
    # A starting point, not a measured optimum.
    "small": {
        "epochs": 12,
        "queries": 300,
        "crop": 640,
        "short_side": 640,
        "longest_side": 1280,
        "max_masks": 200,
        "batch_size": 8,
    },
    # From scratch, on a laptop: with a few hundred images, in a quarter of an hour, the network
    # becomes better than the masks that it learns from.
    "tiny": {
        "steps": 1600,
        "architecture": "condinst",
        "backbone": "unet",
        "backbone_weights": "random",
        "backbone_lr_scale": 1.0,
        "queries": 1000,
        "hidden": 64,
        "scale": 1.5,
        "jitter": "0.5,1.1",
        "crop": 256,
        "turn": 0.75,
        "colour": 1.0,
        "nms_iou": 0.7,
        "best": 200,
        "max_masks": 200,
        "max_area": 0.6,
        "class_weight": 1.0,
        "mask_weight": 2.0,
        "dice_weight": 2.0,
        "batch_size": 2,
        "lr": 1e-3,
        "schedule": "cosine",
        "lr_floor": 0.02,
        "warmup": 100,
        "clip": 5.0,
        "ema": 0.998,
        "dtype": "auto",
        "checkpoint_every": 500,
    },
}
"""Values of options by the names of their parameters."""
