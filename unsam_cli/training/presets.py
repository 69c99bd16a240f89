"""Presets of ``unsam train``: named defaults of its options; imports nothing heavy.

What a preset does not name has the value of the paper.
"""

from __future__ import annotations

from typing import Any

DEFAULT = "small"

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
    # Learns a few images by heart: to see that everything works, and how well pseudo-masks can be
    # learnt at all. Many small steps do more here than few large ones.
    "tiny": {
        "steps": 5000,
        "backbone": "test_convnext3",
        "backbone_weights": "random",
        "backbone_lr_scale": 1.0,
        "queries": 100,
        "hidden": 128,
        "pixel_layers": 2,
        "decoder_layers": 3,
        "crop": 256,
        "short_side": 256,
        "longest_side": 256,
        "least_side": 256,
        "jitter": "1,1",
        "flip": 0.0,
        "max_masks": 100,
        "points": 512,
        "batch_size": 1,
        "lr": 3e-4,
        "clip": 1.0,
        "schedule": "cosine",
        "warmup": 20,
        "checkpoint_every": 500,
    },
}
"""Values of options by the names of their parameters."""
