"""How many tokens a pass may compute together, from the memory that there is and from what a token keeps for the
backward: with every layer's intermediate values, or with its input alone and the layer computed twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from hone_worker.lightning.adapted_model import AdaptedModel
from hone_worker.lightning.device_memory import free_bytes, whole_bytes
from hone_worker.lora import layer_of

# More than this in one pass makes no product faster, and only takes memory.
_ENOUGH = {"cpu": 4096, "cuda": 16384}
# Kernels and allocators take some of it, and what a token keeps is an estimate.
_SHARE = {"cpu": 0.25, "cuda": 0.75}
_CACHES = 0.5
# What a backward that computes its layers twice costs, in passes that do not.
RECOMPUTED_COST = 4 / 3


@dataclass(frozen=True)
class PassMemory:
    """At most so many tokens a pass, if layers keep what they made, and if they are computed twice."""

    kept: int
    recomputed: int


def measure(model: AdaptedModel) -> PassMemory:
    """What fits now. On the CPU it depends on the machine and the model alone, so that a resumed run has the same
    micro-batches, hence the same bits."""
    kind = model.device.type
    available = _SHARE[kind] * (whole_bytes() if kind == "cpu" else free_bytes(model.device))
    whole, inputs = token_bytes(model)
    enough = _ENOUGH[kind]
    return PassMemory(min(enough, int(available / whole)), min(enough, int(available / inputs)))


def token_bytes(model: AdaptedModel) -> tuple[int, int]:
    """What a token keeps until the backward, with and without the values inside layers.

    An estimate: every linear map of a layer keeps its input (for LoRA) and its output (for what follows it), which
    came within 3 % of what torch keeps for Llama's layers. Layers below the adapter keep nothing.
    """
    first = model.adapter.first_layer if model.adapter else 0
    layers: dict[int, int] = {}
    for path, shape in model.linears.items():
        if layer_of(path) >= first:
            layers[layer_of(path)] = layers.get(layer_of(path), 0) + sum(shape)
    inputs = len(layers) * model.head.weight.shape[1]
    size = model.dtype.itemsize
    return size * sum(layers.values()), size * (inputs + max(layers.values()))


def for_caches(model: AdaptedModel) -> int | None:
    """Bytes for keys and values while rollouts are sampled from this model: on CUDA a share of what is free, which
    leaves room for rows that grow, and for training beside those that are not finished. None on the CPU."""
    return int(_CACHES * free_bytes(model.device)) if model.device.type == "cuda" else None

