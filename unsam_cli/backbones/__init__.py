"""Patch features of images, behind one small interface.

================  ===============================================================================
`base`            the `Backbone` protocol and the checks that all backbones share
`registry`        `create_backbone`: from a name to a backbone; imports torch only when needed
`builtin`         the descriptor without weights: no torch, no download; kernels in `descriptor`
`vit`             any timm vision transformer with patch tokens
`vit_facets`      the forward pass up to one projection of one block, and no further
`vit_model`       from a model name to a timm model
`vit_weights`     published checkpoints of transformers, fitted to the model
`vit_hub`         weights from the Hugging Face hub or its cache
`checkpoints`     files of weights, read safely and checked against the model
`soundness`       checks that weights and outputs are finite numbers of the right kind
`model_files`     open a model from a folder, a file or the hub
`pretrained`      model folders of transformers: `folder_config` and `folder_weights`
`vit_device`      device and dtype
`vit_cpu`         faster transformers on a CPU: blocked attention and MLP
`accelerator`     whether there is a GPU, without importing torch if there is none
`speed`           count operations and measure matrix multiplication
================  ===============================================================================
"""

from __future__ import annotations

from unsam_cli.backbones.accelerator import accelerator
from unsam_cli.backbones.base import FACETS, Backbone, Facet
from unsam_cli.backbones.registry import BUILTIN, create_backbone

__all__ = ["BUILTIN", "FACETS", "Backbone", "Facet", "accelerator", "create_backbone"]
