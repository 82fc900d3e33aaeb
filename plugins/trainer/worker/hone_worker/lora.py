"""The adapter: which linear maps carry one, and its numbers as one flat dictionary of fp32 arrays.

``Adapter.params`` maps ``<path of the linear>.lora_a`` (in, r) and ``….lora_b`` (r, out) to arrays; the
linear then computes ``x W' + scale · (x a) b``. The arrays and the dictionary are replaced, never written
to, so whoever keeps one keeps a snapshot.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hone_worker.config import LoraConfig
from hone_worker.errors import WorkerError

_LOG = logging.getLogger(__name__)

Params = Mapping[str, np.ndarray]
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


@dataclass
class Adapter:
    """``shapes``: (in, out) of every adapted linear, by path; ``first_layer``: the lowest one adapted."""

    config: LoraConfig
    shapes: dict[str, tuple[int, int]]
    params: dict[str, np.ndarray]
    first_layer: int

    @property
    def size(self) -> int:
        """How many numbers are trained."""
        return sum(value.size for value in self.params.values())


def create(linears: Mapping[str, tuple[int, int]], layers: int, config: LoraConfig, seed: int) -> Adapter:
    """Chooses among ``linears`` (an engine's, by path) and draws a (uniform); b is zero.

    ``layers``: how many the model has. Raises WorkerError LORA_NO_TARGET if nothing matches.
    """
    shapes = places(linears, layers, config)
    if not shapes:
        raise WorkerError(
            "LORA_NO_TARGET",
            f"No linear map of the model matches target_modules {config.target_modules!r}.",
            f'Use "all-linear", or names that the model has: {", ".join(sorted(set(map(_last, linears))))}.',
        )
    if config.target_modules != "all-linear":
        absent = sorted(set(config.target_modules) - set(map(_last, shapes)))
        if absent:
            _LOG.warning("No linear map of the model matches %s of target_modules.", ", ".join(map(repr, absent)))
    rng = np.random.default_rng(seed)
    params = {}
    for path, (inner, outer) in shapes.items():
        bound = 1.0 / np.sqrt(inner)
        params[f"{path}.lora_a"] = rng.uniform(-bound, bound, (inner, config.rank)).astype(np.float32)
        params[f"{path}.lora_b"] = np.zeros((config.rank, outer), np.float32)
    return Adapter(config, shapes, params, first_layer=min(layer_of(path) for path in shapes))


def places(linears: Mapping[str, tuple[int, int]], layers: int, config: LoraConfig) -> dict[str, tuple[int, int]]:
    """Those of ``linears`` that get an adapter, sorted by path."""
    first = first_layer(layers, config)
    return {path: linears[path] for path in sorted(linears) if _wanted(path, config, first)}


def first_layer(layers: int, config: LoraConfig) -> int:
    """The lowest layer that may get an adapter."""
    return max(0, layers - config.last_layers) if config.last_layers else 0


def changes_nothing(params: Params) -> bool:
    """Whether the model with these parameters is the base model: b is zero everywhere."""
    return not any(value.any() for name, value in params.items() if name.endswith("lora_b"))


def layer_of(path: str) -> int:
    """The number of the layer that a linear map lies in; -1 outside all layers."""
    match = _LAYER.search(path)
    return int(match.group(1)) if match else -1


def _wanted(path: str, config: LoraConfig, first: int) -> bool:
    if layer_of(path) < first:
        return False
    return config.target_modules == "all-linear" or _last(path) in config.target_modules


def _last(path: str) -> str:
    return path.rsplit(".", 1)[-1]
