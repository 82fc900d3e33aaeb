"""Makes trajectories and models for the tests."""

from __future__ import annotations

import pathlib

import numpy as np

from hone_worker.config import LoraConfig, OptimConfig
from hone_worker.mlx import lora, model, train
from hone_worker.trajectory import Trajectory, TurnRecord


def trajectories(rng: np.random.Generator, groups: int = 2, size: int = 3, vocab: int = 96) -> list[Trajectory]:
    """Groups that share a long system prompt, then a task; two turns each, one forks."""
    def ids(count: int) -> list[int]:
        return rng.integers(2, vocab, count).tolist()

    system, out = ids(40), []
    for group in range(groups):
        task = system + ids(20)
        for member in range(size):
            first = ids(int(rng.integers(3, 9)))
            second = ids(int(rng.integers(3, 9)))
            follow = task + first + ids(5) if member else task[:50] + ids(12)
            turns = [
                TurnRecord(task, first, (-4 + 0.3 * rng.standard_normal(len(first))).tolist()),
                TurnRecord(follow, second, (-4 + 0.3 * rng.standard_normal(len(second))).tolist()),
            ]
            advantage = float(rng.standard_normal())
            out.append(Trajectory(f"r{group}-{member}", f"g{group}", 1, advantage, 1.0, turns))
    return out


def trainer(folder: pathlib.Path, fast: bool = True, noise: float = 0.1, **optim: object) -> train.Trainer:
    """A trainer on a model folder, with an adapter that already does something."""
    loaded = model.load(str(folder), folder)
    if not fast:
        loaded.fast = None
    adapter = lora.create(loaded.module, LoraConfig(rank=3, alpha=6, last_layers=2), seed=0)
    rng = np.random.default_rng(5)
    adapter.params = {
        name: value + noise * rng.standard_normal(value.shape).astype(np.float32) if name.endswith("b") else value
        for name, value in adapter.params.items()
    }
    return train.Trainer(loaded, adapter, OptimConfig(**{"learning_rate": 1e-3, **optim}))
