"""The policy loss: four independent options over per-token log-probabilities, in closed form.

Per trained token t of trajectory i, with d = logp − behaviour, A the advantage and f its factor
(weight over the normaliser Z):

    L = Σ f · [ℓ(exp d, A) + tau · d² + beta · k3(logp, reference)]

``policy`` gives the value and ∂L/∂logp of every token, so that no array library differentiates it. Where
the sampler's logp is unknown (NaN) the token counts as on-policy: d = 0. Everything is float64 and
elementwise, but for means over trajectories (``LossConfig.by_trajectory``).

Functions take the array namespace ``xp`` of their arguments, NumPy unless told otherwise, and use of it only
what torch has under the same name with the same meaning, so that an engine whose arrays live elsewhere can
compute the loss there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hone_worker.config import LossConfig
from hone_worker.packing import Entries

# exp of more than this is no ratio but a defect of the data.
_MAX_LOG_RATIO = 20.0

# An array of the namespace in use.
Array = Any


@dataclass(frozen=True)
class TokenLoss:
    """Per token: the loss, its derivative by logp, and whether a clip or a mask made that derivative 0 or
    capped its weight."""

    value: Array
    slope: Array
    clipped: Array


def factors(weights: np.ndarray, lengths: np.ndarray, config: LossConfig) -> np.ndarray:
    """f of every trajectory's tokens, from the weights and trained lengths of **all** of them:
    Z covers the whole step, never a micro-batch."""
    weights = weights.astype(np.float64)
    if config.normaliser == "constant":
        return weights / config.constant
    if config.normaliser == "tokens":
        return weights / max(float(weights @ lengths), 1e-12)
    total = float(weights[lengths > 0].sum())
    return weights / (np.maximum(lengths, 1) * max(total, 1e-12))


def policy(
    logp: Array,
    entries: Entries,
    factor: Array,
    config: LossConfig,
    reference: Array | None = None,
    xp: Any = np,
) -> TokenLoss:
    """Loss and slope of every token. ``entries`` holds whole trajectories if ``config.by_trajectory``."""
    if config.clip == "ce":
        return cross_entropy(logp, factor, xp)
    logp = _float64(logp, xp)
    advantage = _float64(entries.advantage, xp)
    apart = d = log_ratio(logp, entries.behaviour, xp)
    if config.ratio == "sequence":
        d = _trajectory_means(d, entries.sequence, xp)
    ratio = _exp(d, xp)
    if config.clip == "cispo":
        bounded = xp.clip(ratio, None, config.cap)
        value, slope, clipped = -bounded * advantage * logp, -bounded * advantage, ratio > config.cap
    elif config.clip == "ppo":
        limited = xp.clip(ratio, 1 - config.eps_low, 1 + config.eps_high)
        plain, safe = ratio * advantage, limited * advantage
        clipped = safe < plain
        value, slope = -xp.minimum(plain, safe), xp.where(clipped, 0.0, -plain)
    elif config.clip == "dppo":
        moved = xp.exp(logp) - xp.exp(logp - apart)
        clipped = xp.where(advantage > 0, moved > config.eps_high, (advantage < 0) & (moved < -config.eps_low))
        value = slope = xp.where(clipped, 0.0, -ratio * advantage)
    else:
        value, slope, clipped = -ratio * advantage, -ratio * advantage, xp.zeros_like(d, dtype=xp.bool)
    share = xp.ones_like(d)
    if config.tis_cap > 0 and config.tis == "token" and config.clip != "cispo":
        share = xp.clip(config.tis_cap / ratio, None, 1.0)
    value, slope = value * share * factor, slope * share * factor
    if config.ratio == "sequence" and config.clip != "cispo":
        # The mean spreads a row's slope evenly; equal slopes within a row stay as they are.
        slope = _trajectory_means(slope, entries.sequence, xp)
    if config.tau > 0:
        pull = xp.where(advantage == 0, 0.0, apart)
        value, slope = value + config.tau * factor * pull * pull, slope + 2 * config.tau * factor * pull
    if config.beta > 0 and reference is not None:
        gap = _gap(logp, reference, xp)
        value = value + config.beta * factor * (xp.exp(gap) - gap - 1)
        slope = slope + config.beta * factor * (1 - xp.exp(gap))
    if config.tis_cap > 0 and config.tis == "sequence_mask":
        dropped = _trajectory_means(ratio, entries.sequence, xp) > config.tis_cap
        value, slope, clipped = xp.where(dropped, 0.0, value), xp.where(dropped, 0.0, slope), clipped | dropped
    return TokenLoss(value, slope, clipped)


def cross_entropy(logp: Array, factor: Array, xp: Any = np) -> TokenLoss:
    """Supervised: −f · logp."""
    return TokenLoss(-factor * _float64(logp, xp), -factor, xp.zeros_like(logp, dtype=xp.bool))


def log_ratio(logp: Array, behaviour: Array, xp: Any = np) -> Array:
    """logp − behaviour, 0 where the sampler's logp is unknown."""
    return xp.where(xp.isnan(behaviour), 0.0, logp - _float64(behaviour, xp))


def ratios(logp: Array, behaviour: Array, xp: Any = np) -> Array:
    """Per token, the importance ratio p(policy) / p(sampler), 1 where the sampler's logp is unknown."""
    return _exp(log_ratio(logp, behaviour, xp), xp)


def k3(logp: Array, reference: Array, xp: Any = np) -> Array:
    """Per token, an estimate (≥ 0) of KL(policy || reference) on tokens of the policy."""
    gap = _gap(logp, reference, xp)
    return xp.exp(gap) - gap - 1


def _exp(d: Array, xp: Any) -> Array:
    return xp.exp(xp.clip(d, -_MAX_LOG_RATIO, _MAX_LOG_RATIO))


def _gap(logp: Array, reference: Array, xp: Any) -> Array:
    return xp.clip(_float64(reference, xp) - logp, -_MAX_LOG_RATIO, _MAX_LOG_RATIO)


def _trajectory_means(values: Array, sequence: Array, xp: Any) -> Array:
    """Of each token, the mean over its trajectory's tokens."""
    count = xp.clip(xp.bincount(sequence), 1, None)
    return (xp.bincount(sequence, weights=values) / count)[sequence]


def _float64(values: Array, xp: Any) -> Array:
    return xp.asarray(values, dtype=xp.float64)
