"""Presets of ``unsam train``: named defaults of its options; imports nothing heavy.

What a preset does not name has the value of the paper.
"""

from __future__ import annotations

from typing import Any

DEFAULT = "small"

PRESETS: dict[str, dict[str, Any]] = {
    # 3.2 million samples, 8 epochs of 0.4 million images in steps of 16, as published for UnSAM.
    "paper": {"epochs": 8},
    "small": {
        "epochs": 12,
        "queries": 300,
        "crop": 640,
        "short_side": 640,
        "longest_side": 1280,
        "max_masks": 200,
        "batch_size": 8,
    },
    "tiny": {
        "steps": 1500,
        "backbone": "convnext_atto",
        "backbone_weights": "random",
        "backbone_lr_scale": 1.0,
        "queries": 100,
        "hidden": 128,
        "pixel_layers": 2,
        "decoder_layers": 3,
        "crop": 256,
        "short_side": 256,
        "longest_side": 256,
        "jitter": "1,1",
        "max_masks": 100,
        "points": 1024,
        "batch_size": 4,
        "lr": 5e-4,
        "clip": 1.0,
        "schedule": "cosine",
        "warmup": 20,
        "checkpoint_every": 250,
    },
}
"""Values of options by the names of their parameters."""
