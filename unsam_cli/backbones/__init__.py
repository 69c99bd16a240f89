"""Patch features of images, behind one small interface.

================  ===============================================================================
`base`            the `Backbone` protocol and the checks that all of them share
`registry`        `create_backbone`: from a name to a backbone; imports torch only when needed
`builtin`         the weight-free descriptor: no torch, no download
`vit`             any timm vision transformer with patch tokens
`vit_facets`      the forward pass up to one projection of one block, and not further
`vit_model`       from a model name to a timm model that can do that
`vit_weights`     published checkpoints of transformers, fitted to the model
`checkpoints`     files of weights, read safely and checked against the model
`pretrained`      model folders of transformers
`vit_device`      device and dtype
`vit_cpu`         what makes a transformer fast on a CPU: blocked attention and MLP
`accelerator`     whether there is a GPU, told without torch where there is none
`speed`           operations counted and matrix multiplication measured
================  ===============================================================================
"""

from __future__ import annotations

from unsam_cli.backbones.accelerator import accelerator
from unsam_cli.backbones.base import FACETS, Backbone, Facet
from unsam_cli.backbones.registry import BUILTIN, create_backbone

__all__ = ["BUILTIN", "FACETS", "Backbone", "Facet", "accelerator", "create_backbone"]
