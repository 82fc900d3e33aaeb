"""Draws tokens from logits: temperature, nucleus, greedy, each request by its own random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

_BLOCK = 256


class Request(Protocol):
    """How one request's tokens are drawn. temperature 0: the most likely one; top_p: the share of the
    smallest set of tokens that may be drawn."""

    temperature: float
    top_p: float
    rng: np.random.Generator


class Drawer:
    """Keeps its working memory from pass to pass."""

    def __init__(self) -> None:
        self._scratch = np.zeros((0, 0), np.float32)

    def draw(self, logits: np.ndarray, requests: Sequence[Request]) -> tuple[list[int], list[float]]:
        """A token for each row of ``logits`` (requests, vocab), which are overwritten, and its log-probability in
        the distribution that it was drawn from; when greedy, in that of temperature 1."""
        size = logits.shape[1]
        weights = self._take(len(requests), size)
        temperatures = np.array([request.temperature or 1.0 for request in requests], np.float32)
        if (temperatures != 1.0).any():
            logits /= temperatures[:, None]
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=weights[:, :size])
        tokens, logprobs = [], []
        blocks = weights.reshape(len(requests), -1, _BLOCK).sum(axis=2).astype(np.float64)
        for place, request in enumerate(requests):
            total = float(blocks[place].sum())
            if request.temperature == 0:
                token = int(logits[place].argmax())
            elif request.top_p < 1:
                token, total = _nucleus(weights[place, :size], total, request)
            else:
                token = _inverse(weights[place], blocks[place], request.rng.random() * total)
            tokens.append(token)
            logprobs.append(float(logits[place, token]) - float(np.log(total)))
        return tokens, logprobs

    def _take(self, rows: int, size: int) -> np.ndarray:
        """(rows, size rounded up to whole blocks); what lies beyond ``size`` is zero."""
        width = -(-size // _BLOCK) * _BLOCK
        if self._scratch.shape[1] != width or len(self._scratch) < rows:
            self._scratch = np.zeros((max(rows, 8), width), np.float32)
        return self._scratch[:rows]


def _inverse(weights: np.ndarray, blocks: np.ndarray, target: float) -> int:
    """The index at which the running sum of ``weights`` passes ``target``; blocks: sums of runs
    of _BLOCK. Never an index of weight zero."""
    ends = np.cumsum(blocks)
    block = min(int(np.searchsorted(ends, target, side="right")), len(blocks) - 1)
    while blocks[block] == 0:
        block -= 1
    inside = weights[block * _BLOCK : (block + 1) * _BLOCK].astype(np.float64)
    sums = np.cumsum(inside)
    rest = target - (ends[block] - blocks[block])
    index = min(int(np.searchsorted(sums, rest, side="right")), _BLOCK - 1)
    if inside[index] == 0:
        index = int(np.flatnonzero(inside)[-1])
    return block * _BLOCK + index


def _nucleus(weights: np.ndarray, total: float, request: Request) -> tuple[int, float]:
    """A token of the smallest set whose share reaches top_p, and that set's weight."""
    order = np.argsort(-weights, kind="stable")
    sums = np.cumsum(weights[order].astype(np.float64))
    kept = int(np.searchsorted(sums, request.top_p * total)) + 1
    kept = min(kept, len(sums))
    target = request.rng.random() * sums[kept - 1]
    return int(order[min(int(np.searchsorted(sums[:kept], target, side="right")), kept - 1)]), float(sums[kept - 1])
