"""The policy loss: four independent options over per-token log-probabilities, in closed form.

Per trained token t of trajectory i, with d = logp − behaviour, A the advantage and f its factor
(weight over the normaliser Z):

    L = Σ f · [ℓ(exp d, A) + beta · k3(logp, reference)]

``policy`` gives the value and ∂L/∂logp of every token, so that no array library differentiates
it. Where the sampler's logp is unknown (NaN) the token counts as on-policy: d = 0. Everything
is float64 and elementwise, but for the means of the sequence ratio.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hone_worker.config import LossConfig
from hone_worker.packing import Entries

# exp of more than this is no ratio but a defect of the data.
_MAX_LOG_RATIO = 20.0


@dataclass(frozen=True)
class TokenLoss:
    """Per token: the loss, its derivative by logp, and whether a clip made that derivative 0 or
    capped its weight."""

    value: np.ndarray
    slope: np.ndarray
    clipped: np.ndarray


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
    logp: np.ndarray,
    entries: Entries,
    factor: np.ndarray,
    config: LossConfig,
    reference: np.ndarray | None = None,
) -> TokenLoss:
    """Loss and slope of every token. ``entries`` holds whole trajectories if the ratio is by sequence."""
    logp = logp.astype(np.float64)
    advantage = entries.advantage.astype(np.float64)
    d = log_ratio(logp, entries.behaviour)
    share = np.ones_like(d)
    if config.ratio == "sequence":
        # d of a row is the mean over its tokens: each token's slope is that of the mean.
        count = np.bincount(entries.sequence)
        d = (np.bincount(entries.sequence, weights=d) / np.maximum(count, 1))[entries.sequence]
    ratio = np.exp(np.clip(d, -_MAX_LOG_RATIO, _MAX_LOG_RATIO))
    if config.clip == "cispo":
        bounded = np.minimum(ratio, config.cap)
        value, slope, clipped = -bounded * advantage * logp, -bounded * advantage, ratio > config.cap
    elif config.clip == "ppo":
        limited = np.clip(ratio, 1 - config.eps_low, 1 + config.eps_high)
        plain, safe = ratio * advantage, limited * advantage
        clipped = safe < plain
        value, slope = -np.minimum(plain, safe), np.where(clipped, 0.0, -plain)
    else:
        value, slope, clipped = -ratio * advantage, -ratio * advantage, np.zeros(d.shape, bool)
    if config.tis_cap > 0 and config.clip != "cispo":
        share = np.minimum(1.0, config.tis_cap / ratio)
    value, slope = value * share * factor, slope * share * factor
    if config.ratio == "sequence" and config.clip != "cispo":
        # The mean spreads a row's slope evenly; equal slopes within a row stay as they are.
        slope = (np.bincount(entries.sequence, weights=slope) / np.maximum(count, 1))[entries.sequence]
    if config.beta > 0 and reference is not None:
        gap = np.clip(reference.astype(np.float64) - logp, -_MAX_LOG_RATIO, _MAX_LOG_RATIO)
        value = value + config.beta * factor * (np.exp(gap) - gap - 1)
        slope = slope + config.beta * factor * (1 - np.exp(gap))
    return TokenLoss(value, slope, clipped)


def cross_entropy(logp: np.ndarray, factor: np.ndarray) -> TokenLoss:
    """Supervised: −f · logp."""
    return TokenLoss(-factor * logp.astype(np.float64), -factor, np.zeros(logp.shape, bool))


def log_ratio(logp: np.ndarray, behaviour: np.ndarray) -> np.ndarray:
    """logp − behaviour, 0 where the sampler's logp is unknown."""
    return np.where(np.isnan(behaviour), 0.0, logp - np.nan_to_num(behaviour.astype(np.float64)))


def k3(logp: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Per token, an estimate (≥ 0) of KL(policy || reference) on tokens of the policy."""
    gap = np.clip(reference.astype(np.float64) - logp, -_MAX_LOG_RATIO, _MAX_LOG_RATIO)
    return np.exp(gap) - gap - 1
