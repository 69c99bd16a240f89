"""Low-rank adapters: trained corrections of frozen projections, merged into them at the end.

An adapter is a parametrization of ``weight``. All code that reads the weight, including code that
does not call the layer, gets the corrected one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Where = Literal["decoder", "encoder", "both"]

_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj", "o_proj", "qkv", "proj")
"""Names of the projections of attention in SAM (decoder, then encoder) and SAM 2."""

_ORIGINAL, _ADAPTER = ".parametrizations.weight.original", ".parametrizations.weight.0"


class LowRank(nn.Module):
    """Adds the product of two thin matrices to a weight; the product is initially zero.

    References
    ----------
    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021, section 4.1, with
    alpha = rank.
    """

    def __init__(self, outputs: int, inputs: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        bound = math.sqrt(3 / inputs)
        nn.init.uniform_(self.down, -bound, bound, generator=generator)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the corrected weight, (outputs, inputs)."""
        return weight + self.up @ self.down


def add_lora(network: nn.Module, *, rank: int, where: Where = "both", seed: int = 0) -> int:
    """Add adapters to the projections of all attention layers.

    Parameters
    ----------
    network : nn.Module
        Network with a ``vision_encoder`` and a ``mask_decoder``; changed in place.
    rank : int
        Rank of the corrections; above the width of a projection it has no further effect.
    where : {"decoder", "encoder", "both"}
        Whose attention layers get adapters.
    seed : int
        Seed of the adapters' initial weights.

    Returns
    -------
    int
        Number of adapters.
    """
    generator = torch.Generator().manual_seed(seed)
    targets = list(_targets(network, where))
    for linear in targets:
        adapter = LowRank(linear.out_features, linear.in_features, rank, generator)
        adapter.to(linear.weight.device, linear.weight.dtype)
        parametrize.register_parametrization(linear, "weight", adapter)
    return len(targets)


def merged_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with the corrections added to the weights, and without adapters."""
    merged = {}
    for name, tensor in state.items():
        if name.endswith((_ADAPTER + ".up", _ADAPTER + ".down")):
            continue
        if name.endswith(_ORIGINAL):
            layer = name.removesuffix(_ORIGINAL)
            up, down = (state[f"{layer}{_ADAPTER}.{part}"] for part in ("up", "down"))
            merged[f"{layer}.weight"] = tensor + up @ down
        else:
            merged[name] = tensor
    return merged


def lora_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of all adapters."""
    adapters = [module for module in network.modules() if isinstance(module, LowRank)]
    return [parameter for adapter in adapters for parameter in adapter.parameters()]


def _targets(network: nn.Module, where: Where) -> Iterator[nn.Linear]:
    names = {"decoder": ["mask_decoder."], "encoder": ["vision_encoder."]}
    parts = tuple(names.get(where, names["decoder"] + names["encoder"]))
    for name, module in network.named_modules():
        if (
            isinstance(module, nn.Linear)
            and name.startswith(parts)
            and name.rpartition(".")[2] in _PROJECTIONS
        ):
            yield module
