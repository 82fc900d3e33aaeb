"""AdamW over a flat dictionary of NumPy arrays, with bias correction and a linear warm-up.

An adapter is small, so that the optimiser needs no accelerator, and every engine shares this one. Arrays
are replaced, never written to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from hone_worker.config import OptimConfig

Arrays = dict[str, np.ndarray]


class Optimizer(Protocol):
    """An optimiser's state as checkpoints hold it: updates made so far, first and second moments by name."""

    config: OptimConfig
    updates: int
    first: Arrays
    second: Arrays

    def rate(self, learning_rate: float | None = None) -> float:
        """The learning rate of the next update."""


@dataclass
class AdamW:
    """The optimiser's state: updates made so far, first and second moments by name."""

    config: OptimConfig
    updates: int = 0
    first: Arrays = field(default_factory=dict)
    second: Arrays = field(default_factory=dict)

    def rate(self, learning_rate: float | None = None) -> float:
        """The learning rate of the next update."""
        return warmed_up(self.config, self.updates, learning_rate)

    def update(self, params: Arrays, grads: Arrays, learning_rate: float | None = None) -> Arrays:
        """New parameters after one step along ``grads`` (missing ones count as zero)."""
        c, rate = self.config, self.rate(learning_rate)
        self.updates += 1
        correction1 = 1.0 - c.beta1**self.updates
        correction2 = 1.0 - c.beta2**self.updates
        out = {}
        for name, value in params.items():
            grad = grads.get(name, np.zeros_like(value))
            first = c.beta1 * self.first.get(name, np.zeros_like(value)) + (1 - c.beta1) * grad
            second = c.beta2 * self.second.get(name, np.zeros_like(value)) + (1 - c.beta2) * grad * grad
            step = (first / correction1) / (np.sqrt(second / correction2) + c.eps)
            out[name] = (value - rate * (step + c.weight_decay * value)).astype(np.float32)
            self.first[name] = first.astype(np.float32)
            self.second[name] = second.astype(np.float32)
        return out


def warmed_up(config: OptimConfig, updates: int, learning_rate: float | None) -> float:
    """The learning rate after so many updates: ``learning_rate``, or the configured one, behind a linear warm-up."""
    peak = config.learning_rate if learning_rate is None else learning_rate
    return peak * min(1.0, (updates + 1) / config.warmup_steps) if config.warmup_steps else peak


def global_norm(grads: Arrays) -> float:
    """The Euclidean norm over all arrays."""
    return float(np.sqrt(sum(float(np.vdot(g, g)) for _, g in sorted(grads.items()))))


def clip(grads: Arrays, norm: float, limit: float) -> Arrays:
    """Scales ``grads``, whose norm is given, down to ``limit`` (0: as they are)."""
    if limit <= 0 or norm <= limit:
        return grads
    factor = np.float32(limit / norm)
    return {name: value * factor for name, value in grads.items()}
