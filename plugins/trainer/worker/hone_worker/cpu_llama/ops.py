"""The few numpy operations that a Llama layer needs, without gradients.

Arrays are fp32; a token is a row. ``logits`` composes them into the plainest possible forward
pass of one sequence, the yardstick for the trainer's and the sampler's faster ones.
"""

from __future__ import annotations

import numpy as np

from hone_worker.cpu_llama.weights import LlamaWeights


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """(x / rms(x) · weight, 1 / rms(x) as a column)."""
    inverse = np.einsum("ij,ij->i", x, x)
    inverse /= x.shape[1]
    inverse += eps
    np.sqrt(inverse, out=inverse)
    np.reciprocal(inverse, out=inverse)
    column = inverse[:, None]
    y = x * column
    y *= weight
    return y, column


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(−x)), without overflow warnings for large −x."""
    y = np.negative(x)
    np.minimum(y, 80.0, out=y)
    np.exp(y, out=y)
    y += 1.0
    return np.reciprocal(y, out=y)


def rotate(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> None:
    """Rotates x (tokens, heads, d) in place by the angles of cos, sin (tokens, d/2)."""
    half = x.shape[-1] // 2
    c, s = cos[:, None], sin[:, None]
    first, second = x[..., :half], x[..., half:]
    turned = first * c
    turned -= second * s
    second *= c
    second += first * s
    first[...] = turned


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in place."""
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def logits(weights: LlamaWeights, ids: np.ndarray) -> np.ndarray:
    """Logits (tokens, vocab) of one sequence of ids, all at once."""
    n, w = len(ids), weights
    d, groups = w.head_dim, w.heads // w.kv_heads
    mask = np.triu(np.full((n, n), -np.inf, np.float32), 1)
    x = w.embed[ids]
    for layer in w.layers:
        normed, _ = rms_norm(x, layer.input_norm, w.eps)
        qkv = (normed @ layer.qkv.T).reshape(n, w.heads + 2 * w.kv_heads, d)
        rotate(qkv[:, : w.heads + w.kv_heads], w.cos[:n], w.sin[:n])
        query = qkv[:, : w.heads].transpose(1, 0, 2).reshape(w.kv_heads, groups, n, d)
        key = qkv[:, w.heads : w.heads + w.kv_heads].transpose(1, 2, 0)
        value = qkv[:, w.heads + w.kv_heads :].transpose(1, 0, 2)
        weight = softmax(query @ key[:, None] * np.float32(d**-0.5) + mask)
        mixed = (weight @ value[:, None]).reshape(w.heads, n, d).transpose(1, 0, 2)
        x = x + mixed.reshape(n, -1) @ layer.out.T
        normed, _ = rms_norm(x, layer.post_norm, w.eps)
        gate_up = normed @ layer.gate_up.T
        gate, up = gate_up[:, : w.inner], gate_up[:, w.inner :]
        x = x + (gate * sigmoid(gate) * up) @ layer.down.T
    return rms_norm(x, w.norm, w.eps)[0] @ w.head.T
