"""AdamW's state between torch, where updates happen, and hone's names, under which checkpoints hold it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from hone_worker.config import OptimConfig
from hone_worker.optimizer import Arrays, warmed_up

# First and second moments by hone's names.
Pair = tuple[Arrays, Arrays]


class Moments:
    """See ``optimizer.Optimizer``. While updates use it, torch holds the moments, and reading them fetches them."""

    def __init__(self, config: OptimConfig) -> None:
        self.config, self.updates = config, 0
        self._pair: Pair = {}, {}
        self._fetch: Callable[[], Pair] | None = None

    def rate(self, learning_rate: float | None = None) -> float:
        """The learning rate of the next update."""
        return warmed_up(self.config, self.updates, learning_rate)

    @property
    def live(self) -> bool:
        """Whether torch holds what this is."""
        return self._fetch is not None

    def lend(self, fetch: Callable[[], Pair] | None) -> None:
        """Says where the moments are from now on; None: here."""
        if fetch is None:
            self._pair = self.pair
        self._fetch = fetch

    @property
    def pair(self) -> Pair:
        """Both."""
        return self._fetch() if self._fetch else self._pair

    @property
    def first(self) -> Arrays:
        return self.pair[0]

    @first.setter
    def first(self, value: Arrays) -> None:
        self._pair, self._fetch = (value, self.pair[1]), None

    @property
    def second(self) -> Arrays:
        return self.pair[1]

    @second.setter
    def second(self, value: Arrays) -> None:
        self._pair, self._fetch = (self.pair[0], value), None


def put(adamw: torch.optim.AdamW, weights: dict[str, torch.nn.Parameter], updates: int, pair: Pair) -> None:
    """Makes ``pair`` the state of ``adamw`` after so many updates; names that it lacks count as zero."""
    adamw.state.clear()
    for name, weight in weights.items() if updates else ():
        first, second = (_like(weight, moments.get(name)) for moments in pair)
        adamw.state[weight] = {"step": torch.tensor(float(updates)), "exp_avg": first, "exp_avg_sq": second}


def get(adamw: torch.optim.AdamW, weights: dict[str, torch.nn.Parameter]) -> Pair:
    """The inverse of ``put``."""

    def named(key: str) -> Arrays:
        return {
            name: np.ascontiguousarray(adamw.state[weight][key].cpu().numpy().T)
            for name, weight in weights.items()
            if weight in adamw.state
        }

    return named("exp_avg"), named("exp_avg_sq")


def _like(weight: torch.Tensor, value: np.ndarray | None) -> torch.Tensor:
    if value is None:
        return torch.zeros_like(weight)
    return torch.from_numpy(np.ascontiguousarray(value.T)).to(weight.device)
