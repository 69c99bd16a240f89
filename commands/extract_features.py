"""unsam extract-features [IMAGES...] -o FEATURES.h5"""  # noqa: D400

from __future__ import annotations

from typing import Any

import click

from unsam_cli import options
from unsam_cli.run.inputs import ImageQuery
from unsam_cli.run.runner import RunSettings


def _size(context: click.Context, parameter: click.Parameter, value: int | None) -> int:
    from unsam_cli.backbones.registry import usual_size

    return value or usual_size(context.params["backbone"])


@options.command("extract-features", "Write patch features of images, or of their masks.")
@options.images_argument
@options.files_option(
    "--regions",
    metavar="MASKS.json",
    help="Make one record per mask of a masks file (- for stdin) instead of one per image.",
)
@options.option(
    "--whole-image",
    is_flag=True,
    group="Input",
    help="With --regions: add one record for the whole image.",
)
@options.option(
    "--backbone",
    default="builtin",
    is_eager=True,  # the default of --size depends on it
    metavar="NAME",
    help="The built-in weight-free descriptor, any timm model with patch tokens, or sam for "
    "finetune-sam.",
)
@options.run_option(
    "--weights",
    metavar="PATH|ID",
    group="Method",
    help="A checkpoint (original DINO .pth, timm, safetensors; of sam: SAM or SAM 2) or a hub id.  "
    "[default: the model's own]",
)
@options.option(
    "--facet",
    type=click.Choice(["key", "query", "value", "token"]),
    default="key",
    help="Which vectors of the attention layer.",
)
@options.option("--layer", default=-1, type=int, help="Which block; negative counts from the end.")
@options.option(
    "--size",
    type=click.IntRange(1),
    callback=_size,
    help="Longest side after resizing, in pixels.  [default: 480; 640 for the built-in descriptor]",
)
@options.option("--square", is_flag=True, help="Squash to SIZE x SIZE, as MaskCut does.")
@options.option(
    "--region-size",
    default=256,
    type=click.IntRange(1),
    help="Side that the crop of a mask's box is resized to, in pixels.",
)
@options.option(
    "--project",
    default=0,
    type=click.IntRange(0),
    metavar="D",
    help="Keep the best rank-D approximation of each record's Gram matrix; 0 keeps all.",
)
@options.option(
    "--storage-dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    group="Output",
    help="Type of the stored features.",
)
@options.compute_options
@options.run_options
def command(
    images: ImageQuery,
    regions: str | None,
    compute: options.Compute,
    run: RunSettings,
    storage_dtype: str,
    project: int,
    **method: Any,
) -> int:
    """Write the patch features of images to an HDF5 file.

    Reads photographs; writes one record per image, or with --regions one per mask.

    \b
      unsam extract-features photos/ -o features.h5
      unsam extract-features photos/ --backbone vit_base_patch8_224.dino \\
          --weights dino_vitbase8_pretrain.pth -o features.h5
      unsam extract-features photos/ --regions masks.json --whole-image -o regions.h5
    """
    from unsam_cli.extraction import ExtractSettings, PlanSettings
    from unsam_cli.extraction.stage import BackboneSettings, extract_features

    network = {name: method.pop(name) for name in ("backbone", "weights", "facet", "layer")}
    return extract_features(
        images,
        BackboneSettings(**network, device=compute.device, dtype=compute.dtype),
        ExtractSettings(
            plan=PlanSettings(**method),
            rank=project,
            storage_dtype=storage_dtype,
            batch_size=compute.batch_size,
            jobs=run.jobs,
        ),
        run,
        regions=regions,
    )
