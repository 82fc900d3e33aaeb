"""The head that turns states into log-probabilities, forward and backward by hand.

The vocabulary is touched by blocks of distinct states only, and never kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hone_worker.cpu_llama.layer import rms_norm_backward
from hone_worker.cpu_llama.ops import rms_norm
from hone_worker.cpu_llama.weights import LlamaWeights
from hone_worker.engine import Slope

HEAD_BLOCK = 192
HEAD_ROWS = 8


def head(
    w: LlamaWeights,
    x: np.ndarray,
    states: np.ndarray,
    targets: np.ndarray,
    slope: Slope | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(logp, entropy) of each target at its state, and dL/dx if ``slope`` gives dL/dlogp.

    x: (tokens, hidden), before the last norm; states: index into x of each target.
    """
    distinct, which = np.unique(states, return_inverse=True)
    normed, inverse = rms_norm(x[distinct], w.norm, w.eps)
    job = _Head(w.head, targets, slope, np.empty(len(states), np.float32), np.empty(len(states), np.float32))
    d_normed = np.zeros_like(normed)
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(len(distinct) + 1))
    for start in range(0, len(distinct), HEAD_BLOCK):
        stop = min(start + HEAD_BLOCK, len(distinct))
        job.block(normed[start:stop], order, bounds[start : stop + 1], d_normed[start:stop])
    if slope is None:
        return job.logp, job.entropy, None
    d_x = np.zeros_like(x)
    d_states = np.zeros_like(normed)
    rms_norm_backward(d_normed, x[distinct], inverse, w.norm, d_states)
    d_x[distinct] = d_states
    return job.logp, job.entropy, d_x


@dataclass
class _Head:
    matrix: np.ndarray
    targets: np.ndarray
    slope: Slope | None
    logp: np.ndarray
    entropy: np.ndarray

    def block(self, normed: np.ndarray, order: np.ndarray, bounds: np.ndarray, d_normed: np.ndarray) -> None:
        """Fills logp and entropy of the entries order[bounds[i]:bounds[i+1]] of each state i."""
        logits = normed @ self.matrix.T
        # A few rows at a time, so that the passes over them stay in the cache.
        scratch = np.empty((min(HEAD_ROWS, len(normed)), logits.shape[1]), np.float32)
        needed = False
        for start in range(0, len(normed), HEAD_ROWS):
            stop = min(start + HEAD_ROWS, len(normed))
            here = order[bounds[start] : bounds[stop]]
            local = np.repeat(np.arange(stop - start), np.diff(bounds[start : stop + 1]))
            needed |= self._rows(logits[start:stop], scratch[: stop - start], here, local)
        if needed:
            np.matmul(logits, self.matrix, out=d_normed)

    def _rows(self, logits: np.ndarray, weight: np.ndarray, here: np.ndarray, local: np.ndarray) -> bool:
        """Turns logits into dL/dlogits in place; False if that is zero."""
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=weight)
        total = weight.sum(axis=1)
        log_norm = np.log(total)
        self.logp[here] = logits[local, self.targets[here]] - log_norm[local]
        mean = np.einsum("ij,ij->i", weight, logits) / total
        self.entropy[here] = (log_norm - mean)[local]
        if self.slope is None:
            return False
        d_logp = self.slope(here, self.logp[here]).astype(np.float32)
        factor = np.bincount(local, weights=d_logp, minlength=len(total)).astype(np.float32)
        np.multiply(weight, (-factor / total)[:, None], out=logits)
        np.add.at(logits, (local, self.targets[here]), d_logp)
        return bool(d_logp.any())
