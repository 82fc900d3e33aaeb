"""One Llama layer, forward and backward by hand.

The weights are those with the adapter merged in; gradients are wanted for the adapter's
factors only. With W' = W + s (a b)ᵀ and y = x W'ᵀ: dx = dy W', da = s xᵀ (dy bᵀ),
db = s (x a)ᵀ dy. Attention runs by blocks of queries and keeps only the log of its
normaliser, so its memory is linear in the length. fp32 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hone_worker.cpu_llama.ops import rms_norm, rotate, sigmoid
from hone_worker.cpu_llama.weights import LlamaWeights

Parts = Sequence[tuple[slice, np.ndarray]]
QUERY_BLOCK = 128
_MASKED = np.float32(-1e30)


@dataclass
class LayerState:
    """What the backward of a layer needs. qkv is rotated: (tokens, heads + 2 kv_heads, d)."""

    x: np.ndarray
    inverse1: np.ndarray
    qkv: np.ndarray
    mixed: np.ndarray
    log_norm: np.ndarray
    middle: np.ndarray
    inverse2: np.ndarray
    gate_up: np.ndarray

    def key_value(self, w: LlamaWeights) -> np.ndarray:
        """Keys then values of every token: (tokens, 2 kv_heads, d)."""
        return self.qkv[:, w.heads :]


def layer_forward(
    w: LlamaWeights,
    index: int,
    x: np.ndarray,
    angles: tuple[np.ndarray, np.ndarray],
    parts: Parts,
    shared_kv: np.ndarray,
    keep: bool,
) -> tuple[np.ndarray, LayerState]:
    """Runs layer ``index`` on x (tokens, hidden); ``shared_kv`` holds the ancestors' keys and values."""
    layer, n = w.layers[index], len(x)
    normed, inverse1 = rms_norm(x, layer.input_norm, w.eps)
    qkv = (normed @ layer.qkv.T).reshape(n, w.heads + 2 * w.kv_heads, w.head_dim)
    rotate(qkv[:, : w.heads + w.kv_heads], *angles)
    mixed = np.empty((n, w.heads, w.head_dim), np.float32)
    log_norm = np.empty((n, w.heads), np.float32)
    for where, context in parts:
        _attend(w, qkv[where], shared_kv, context, mixed[where], log_norm[where])
    middle = mixed.reshape(n, -1) @ layer.out.T
    middle += x
    normed, inverse2 = rms_norm(middle, layer.post_norm, w.eps)
    gate_up = normed @ layer.gate_up.T
    gate, up = gate_up[:, : w.inner], gate_up[:, w.inner :]
    active = sigmoid(gate)
    active *= gate
    active *= up
    y = active @ layer.down.T
    y += middle
    if not keep:
        # Only the keys and values are asked for.
        return y, LayerState(x, inverse1, qkv, mixed, log_norm, middle, inverse2, normed[:0])
    return y, LayerState(x, inverse1, qkv, mixed, log_norm, middle, inverse2, gate_up)


def _heads_first(x: np.ndarray, kv_heads: int) -> np.ndarray:
    """(tokens, heads, d) to (kv_heads, groups, tokens, d), contiguous."""
    n, heads, d = x.shape
    return np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(kv_heads, heads // kv_heads, n, d)


def _gather(w: LlamaWeights, qkv: np.ndarray, shared_kv: np.ndarray, context: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys and values a segment sees, its ancestors' first: (kv_heads, context + tokens, d)."""
    own = qkv[:, w.heads :]
    both = np.concatenate([shared_kv[context], own]) if len(context) else own
    both = np.ascontiguousarray(both.transpose(1, 0, 2))
    return both[: w.kv_heads], both[w.kv_heads :]


def _scores(query: np.ndarray, key: np.ndarray, start: int, stop: int, offset: int) -> np.ndarray:
    """Masked scores (kv_heads, groups·block, visible) of the queries [start, stop)."""
    kv_heads, groups, _, d = query.shape
    block, seen = stop - start, offset + stop
    rows = query[:, :, start:stop].reshape(kv_heads, groups * block, d)
    scores = rows @ key[:, :seen].transpose(0, 2, 1)
    own = scores.reshape(kv_heads, groups, block, seen)[..., offset + start :]
    own += np.triu(np.full((block, block), _MASKED), 1)
    return scores


def _attend(
    w: LlamaWeights, qkv: np.ndarray, shared_kv: np.ndarray, context: np.ndarray, mixed: np.ndarray, log_norm: np.ndarray
) -> None:
    n, offset, kv, d = len(qkv), len(context), w.kv_heads, w.head_dim
    query = _heads_first(qkv[:, : w.heads] * np.float32(d**-0.5), kv)
    key, value = _gather(w, qkv, shared_kv, context)
    for start in range(0, n, QUERY_BLOCK):
        stop = min(n, start + QUERY_BLOCK)
        scores = _scores(query, key, start, stop, offset)
        top = scores.max(axis=-1, keepdims=True)
        scores -= top
        np.exp(scores, out=scores)
        total = scores.sum(axis=-1, keepdims=True)
        out = scores @ value[:, : offset + stop]
        out /= total
        mixed[start:stop] = out.reshape(w.heads, stop - start, d).transpose(1, 0, 2)
        np.log(total, out=total)
        total += top
        log_norm[start:stop] = total.reshape(w.heads, stop - start).T


def rms_norm_backward(
    d_y: np.ndarray, x: np.ndarray, inverse: np.ndarray, weight: np.ndarray, d_x: np.ndarray
) -> None:
    """Adds the gradient of x through rms_norm to ``d_x``. Overwrites ``d_y``."""
    d_y *= weight
    along = np.einsum("ij,ij->i", d_y, x)[:, None]
    along *= inverse
    along *= inverse
    along *= inverse / x.shape[1]
    d_y *= inverse
    d_x += d_y
    d_x -= x * along


@dataclass
class LayerBackward:
    """The backward of one layer; ``grads`` fills with the adapter's gradients by name."""

    w: LlamaWeights
    index: int
    params: dict[str, np.ndarray]
    scale: float
    angles: tuple[np.ndarray, np.ndarray]
    parts: Parts
    shared_kv: np.ndarray
    grads: dict[str, np.ndarray] = field(default_factory=dict)

    def run(
        self, state: LayerState, d_y: np.ndarray, extra: np.ndarray | None, last: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """(dL/dx, dL/d shared keys and values). ``extra``: what later packs found for this pack's
        own keys and values; ``last``: nothing below is trained, dL/dx is not needed."""
        w, layer = self.w, self.w.layers[self.index]
        self.blocks = w.blocks(self.index)
        d_middle = self._feed_forward(state, d_y)
        n = len(d_y)
        self._adapter("out", state.mixed.reshape(n, -1), d_middle)
        d_mixed = (d_middle @ layer.out).reshape(n, w.heads, w.head_dim)
        d_qkv, d_shared = self._attention(state, d_mixed)
        if extra is not None:
            d_qkv[:, w.heads :] += extra
        cos, sin = self.angles
        rotate(d_qkv[:, : w.heads + w.kv_heads], cos, -sin)
        flat = d_qkv.reshape(n, -1)
        normed = state.x * state.inverse1
        normed *= layer.input_norm
        self._adapter("qkv", normed, flat)
        if not last:
            rms_norm_backward(flat @ layer.qkv, state.x, state.inverse1, layer.input_norm, d_middle)
        return d_middle, d_shared

    def _feed_forward(self, state: LayerState, d_y: np.ndarray) -> np.ndarray:
        w, layer = self.w, self.w.layers[self.index]
        gate, up = state.gate_up[:, : w.inner], state.gate_up[:, w.inner :]
        d_active = d_y @ layer.down
        sig = sigmoid(gate)
        swish = gate * sig
        self._adapter("down", swish * up, d_y)
        d_gate_up = np.empty_like(state.gate_up)
        d_gate, d_up = d_gate_up[:, : w.inner], d_gate_up[:, w.inner :]
        np.multiply(d_active, swish, out=d_up)
        # d swish / d gate = sig + swish (1 − sig)
        np.subtract(1.0, sig, out=d_gate)
        d_gate *= swish
        d_gate += sig
        d_active *= up
        d_gate *= d_active
        normed = state.middle * state.inverse2
        normed *= layer.post_norm
        self._adapter("gate_up", normed, d_gate_up)
        d_middle = d_y.copy()
        rms_norm_backward(d_gate_up @ layer.gate_up, state.middle, state.inverse2, layer.post_norm, d_middle)
        return d_middle

    def _adapter(self, name: str, x: np.ndarray, d_y: np.ndarray) -> None:
        found = [(p, rows) for p, rows in self.blocks[name] if f"{p}.lora_a" in self.params]
        if not found:
            return
        factors = [self.params[f"{p}.lora_a"] for p, _ in found]
        low = x @ (np.concatenate(factors, axis=1) if len(found) > 1 else factors[0])
        d_low = np.concatenate([d_y[:, rows] @ self.params[f"{p}.lora_b"].T for p, rows in found], axis=1)
        d_a = x.T @ d_low
        d_a *= self.scale
        low *= self.scale
        rank = factors[0].shape[1]
        for i, (path, rows) in enumerate(found):
            part = slice(i * rank, (i + 1) * rank)
            self.grads[f"{path}.lora_a"] = d_a[:, part]
            self.grads[f"{path}.lora_b"] = low[:, part].T @ d_y[:, rows]

    def _attention(self, state: LayerState, d_mixed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d_qkv = np.empty_like(state.qkv)
        d_shared = np.zeros_like(self.shared_kv)
        for where, context in self.parts:
            d_both = self._segment(state, where, context, d_mixed[where], d_qkv[where])
            offset = len(context)
            d_qkv[where][:, self.w.heads :] = d_both[:, offset:].transpose(1, 0, 2)
            if offset:
                d_shared[context] += d_both[:, :offset].transpose(1, 0, 2)
        return d_qkv, d_shared

    def _segment(
        self, state: LayerState, where: slice, context: np.ndarray, d_mixed: np.ndarray, d_qkv: np.ndarray
    ) -> np.ndarray:
        """Writes dL/dq of one segment; returns dL/d(keys, values): (2 kv_heads, visible, d)."""
        w, qkv = self.w, state.qkv[where]
        n, offset, kv, d = len(qkv), len(context), w.kv_heads, w.head_dim
        scale = np.float32(d**-0.5)
        query = _heads_first(qkv[:, : w.heads] * scale, kv)
        key, value = _gather(w, qkv, self.shared_kv, context)
        d_out = _heads_first(d_mixed, kv)
        along = np.einsum("nhd,nhd->hn", d_mixed, state.mixed[where]).reshape(kv, -1, n)
        log_norm = np.ascontiguousarray(state.log_norm[where].T).reshape(kv, -1, n)
        d_both = np.zeros((2 * kv, offset + n, d), np.float32)
        for start in range(0, n, QUERY_BLOCK):
            stop = min(n, start + QUERY_BLOCK)
            seen = offset + stop
            weight = _scores(query, key, start, stop, offset)
            rows = weight.shape[1]
            weight -= log_norm[:, :, start:stop].reshape(kv, rows, 1)
            np.exp(weight, out=weight)
            d_rows = d_out[:, :, start:stop].reshape(kv, rows, d)
            d_both[kv:, :seen] += weight.transpose(0, 2, 1) @ d_rows
            d_score = d_rows @ value[:, :seen].transpose(0, 2, 1)
            d_score -= along[:, :, start:stop].reshape(kv, rows, 1)
            d_score *= weight
            d_query = d_score @ key[:, :seen]
            d_query *= scale
            d_qkv[start:stop, : w.heads] = d_query.reshape(w.heads, stop - start, d).transpose(1, 0, 2)
            d_both[:kv, :seen] += d_score.transpose(0, 2, 1) @ query[:, :, start:stop].reshape(kv, rows, d)
        return d_both
