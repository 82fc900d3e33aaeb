"""Whether a model can be trained in the memory that is free, from its configuration alone, and what would fit.

An estimate of what is always needed: frozen weights, the adapter with its gradient and AdamW's two moments, and a pass
over one row, whose layers are computed twice. Longer rows need more: a step that runs out says how long they may be.

Errors: WorkerError OUT_OF_MEMORY.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn

from hone_worker.config import LoraConfig
from hone_worker.errors import WorkerError
from hone_worker.lora import first_layer, layer_of, places

# bitsandbytes' NF4 with its scales in 8 bits.
_FOUR_BITS = 0.5 + 1 / 64
# The row that has to fit: a task and a few answers. Whoever allows less gets less.
_ROW_TOKENS = 1024
# fp32 numbers, their gradients, two moments.
_TRAINED_BYTES = 16
_GB = 1e9


@dataclass(frozen=True)
class Parts:
    """A model's numbers: inside and outside of its layers' linear maps; per linear map (in, out) the adapter may have
    a place at; layers, hidden: how many and how wide."""

    in_linears: int
    elsewhere: int
    places: dict[str, tuple[int, int]]
    layers: int
    hidden: int


def parts_of(config: dict[str, Any]) -> Parts | None:
    """Counts the parameters of the architecture without making them; None where transformers does not know it."""
    settings = {key: value for key, value in config.items() if key not in ("model_type", "torch_dtype", "dtype")}
    try:
        known = transformers.AutoConfig.for_model(config["model_type"], **settings)
        with torch.device("meta"):
            module = transformers.AutoModelForCausalLM.from_config(known)
    except Exception:  # loading the model says what is wrong with its configuration
        return None
    module.tie_weights()
    linears = {
        path: part for path, part in module.named_modules() if isinstance(part, nn.Linear) and layer_of(path) >= 0
    }
    inside = sum(part.weight.numel() for part in linears.values())
    text = module.config.get_text_config()
    return Parts(
        inside,
        sum(value.numel() for value in module.parameters()) - inside,
        {path: (part.in_features, part.out_features) for path, part in linears.items()},
        text.num_hidden_layers,
        text.hidden_size,
    )


@dataclass(frozen=True)
class Need:
    """Bytes of the weights, of the adapter with what trains it, and of a pass over one row."""

    weights: float
    adapter: float
    row: float

    @property
    def all(self) -> float:
        return self.weights + self.adapter + self.row


def need(parts: Parts, lora: LoraConfig, weight_bytes: float, quantized: bool, tokens: int, spread: int = 1) -> Need:
    """What training takes; weight_bytes: of one number that is not in 4 bits; tokens: of the row; spread: over how many
    devices the weights are."""
    adapted = places(parts.places, parts.layers, lora)
    per_linear = _FOUR_BITS if quantized else weight_bytes
    widest = sum(sum(shape) for path, shape in parts.places.items() if layer_of(path) == parts.layers - 1)
    kept = (parts.layers - first_layer(parts.layers, lora)) * parts.hidden + widest
    return Need(
        (parts.in_linears * per_linear + parts.elsewhere * weight_bytes) / spread,
        _TRAINED_BYTES * lora.rank * sum(sum(shape) for shape in adapted.values()),
        min(weight_bytes, 4) * kept * tokens,
    )


def require(
    name: str,
    config: dict[str, Any],
    lora: LoraConfig,
    *,
    weight_bytes: float,
    quantized: bool,
    context_tokens: int,
    free: float,
    cuda: bool,
    spread: int = 1,
) -> None:
    """Refuses what cannot fit in ``free`` bytes, before any weight is read; says what would."""
    parts = parts_of(config)
    if parts is None:
        return
    tokens = min(context_tokens, _ROW_TOKENS)
    needed = need(parts, lora, weight_bytes, quantized, tokens, spread)
    if needed.all <= free:
        return

    def fits(changed: LoraConfig = lora, size: float = weight_bytes, four: bool = quantized) -> bool:
        return need(parts, changed, size, four, tokens, spread).all <= free

    ways = [f"lora.rank {rank}" for rank in _ranks(lora.rank) if fits(LoraConfig(**{**vars(lora), "rank": rank}))][:1]
    if cuda and not quantized and fits(four=True):
        ways.append("quantize 4bit")
    if weight_bytes > 2 and fits(size=2):
        ways.append("precision bf16")
    smaller = f"a smaller model, or a {'GPU' if cuda else 'machine'} with {needed.all / _GB:.1f} GB free"
    raise WorkerError(
        "OUT_OF_MEMORY",
        f"Training {name!r} needs about {needed.all / _GB:.1f} GB of memory (weights {needed.weights / _GB:.1f}, adapter of "
        f"rank {lora.rank} and its optimiser {needed.adapter / _GB:.1f}, a row of {tokens} tokens {needed.row / _GB:.1f}), and "
        f"{free / _GB:.1f} GB are free.",
        f"What would fit: {' or '.join([*ways, smaller])}.",
    )


def _ranks(rank: int) -> list[int]:
    return [smaller for smaller in (256, 128, 64, 32, 16, 8, 4, 2, 1) if smaller < rank]


def ran_out(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or on the CPU."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def exhausted(error: BaseException, tokens: int, quantized: bool, cuda: bool) -> WorkerError:
    """A step that ran out of memory. tokens: about as many as a pass has room for now."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    four = ", or quantize the model to 4 bits" if cuda and not quantized else ""
    return WorkerError(
        "OUT_OF_MEMORY",
        f"The step needs more memory than there is; the adapter was not changed. {lines[0]}",
        f"Rows of about {max(1, tokens)} tokens would fit: set context_tokens to that, lower micro_batch_tokens, set "
        f"gradient_checkpointing to true, lower lora.rank{four}.",
    )
