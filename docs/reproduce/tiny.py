"""Stand-ins for datasets and weights at SCALE=tiny: photographs, some masks, a small SAM."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path


def photos(folder: str, *names: str) -> None:
    """Copy photographs from the scikit-image package."""
    import skimage

    for name in names:
        shutil.copy(Path(skimage.__file__).parent / "data" / name, folder)


def subset(source: str, target: str, *names: str) -> None:
    """Keep some images of a COCO file."""
    masks = json.loads(Path(source).read_bytes())
    masks["images"] = [image for image in masks["images"] if image["file_name"] in names]
    ids = {image["id"] for image in masks["images"]}
    masks["annotations"] = [one for one in masks["annotations"] if one["image_id"] in ids]
    Path(target).write_text(json.dumps(masks))


def sam(folder: str) -> None:
    """Write a SAM of two layers with random weights."""
    import torch
    from transformers import SamConfig, SamModel

    torch.manual_seed(0)
    config = SamConfig(
        vision_config={
            "hidden_size": 32,
            "output_channels": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 256,
            "num_pos_feats": 16,
            "global_attn_indexes": [1],
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 256},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4},
    )
    SamModel(config).save_pretrained(folder)


if __name__ == "__main__":
    {"photos": photos, "set": subset, "sam": sam}[sys.argv[1]](*sys.argv[2:])
