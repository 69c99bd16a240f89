"""The encoder of a U-Net, and the layers that it shares with the rest of CondInst."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from unsam_cli.models.predictions import at_least_single

_GROUPS = 8
_WIDTHS = (2, 8 / 3, 4, 16 / 3)  # of the stages, relative to the stem
_BLOCKS = (1, 1, 2, 2)


def in_groups(width: float) -> int:
    """Return the nearest width that group normalisation can divide."""
    return max(1, round(width / _GROUPS)) * _GROUPS


class Norm(nn.GroupNorm):
    """Group normalisation, which works with single images; faster in single precision."""

    def __init__(self, width: int) -> None:
        super().__init__(_GROUPS, width)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W), and return float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(at_least_single(x))


def convolve(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution of 3 x 3 with normalisation and activation."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
        Norm(outside),
        nn.SiLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolve(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), Norm(width))
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(x + self.second(self.first(x)))


class Stages(nn.Module):
    """Encoder of the U-Net: four stages at strides 4, 8, 16 and 32.

    Parameters
    ----------
    stem : int
        Channels of the input, at stride 2.

    Attributes
    ----------
    widths : list of int
        Channels of the stages: 2, 8/3, 4 and 16/3 times `stem`, to the nearest multiple of 8.
    """

    def __init__(self, stem: int) -> None:
        super().__init__()
        self.widths = [in_groups(stem * times) for times in _WIDTHS]
        before = (stem, *self.widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                convolve(narrow, width, stride=2), *(_Residual(width) for _ in range(blocks))
            )
            for narrow, width, blocks in zip(before, self.widths, _BLOCKS, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the outputs of the stages, (B, width, h, w) each, the finest first."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
