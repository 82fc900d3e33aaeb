"""What a policy step says of itself, and when it is refused: the same for every engine.

Arrays are NumPy's, one element an entry of the whole step: micro-batches and ranks are put together before.

Errors: WorkerError OFF_POLICY and STEP_DIVERGED; whoever asks has changed nothing yet.
"""

from __future__ import annotations

import numpy as np

from hone_worker import lora, loss
from hone_worker.config import LossConfig
from hone_worker.engine import Engine, Plan
from hone_worker.errors import WorkerError
from hone_worker.lora import Params
from hone_worker.packing import Entries

# Mean difference of logprobs, in nats per token, between sampler and trainer: half-precision kernels stay below
# the first; beyond the second the tokens are not those that were sampled, or the weights are others.
MISMATCH_WARNING = 0.05
MISMATCH_LIMIT = 0.5

# On so many rows of a step the KL to the base model is estimated.
KL_ROWS = 8

# Of a step without a row that has an advantage.
NO_SIGNAL = {
    "loss": 0.0,
    "grad_norm": 0.0,
    "logical_tokens": 0,
    "physical_tokens": 0,
    "kl_base": 0.0,
    "mismatch_abs": 0.0,
    "mismatch_max": 0.0,
    "clip_fraction": 0.0,
}


def of_policy(
    entries: Entries,
    logp: np.ndarray,
    entropy: np.ndarray,
    factor: np.ndarray,
    config: LossConfig,
    reference: np.ndarray | None = None,
    version: int | None = None,
) -> dict[str, float]:
    """The figures of a policy update that its entries tell; ``factor`` is per entry.

    With ``version``, that of the weights which are trained, the mismatch is told by staleness too:
    ``mismatch_abs_1`` is that of tokens sampled by the version before.
    """
    valued = loss.policy(logp, entries, factor, config, reference)
    known = ~np.isnan(entries.behaviour)
    gap = np.abs(logp - entries.behaviour)[known]
    figures = {
        "loss": float(valued.value.sum()),
        "mismatch_abs": float(gap.mean()) if gap.size else 0.0,
        "mismatch_max": float(gap.max()) if gap.size else 0.0,
        "entropy": float(entropy.mean()),
        "clip_fraction": float(valued.clipped.mean()),
        "ratio_mean": float(loss.ratios(logp, entries.behaviour)[known].mean()) if gap.size else 1.0,
    }
    if version is not None:
        staleness = _staleness(entries, version)[known]
        figures |= {f"mismatch_abs_{n}": float(gap[staleness == n].mean()) for n in np.unique(staleness)}
    return figures


def refuse_off_policy(entries: Entries, logp: np.ndarray, version: int | None = None) -> None:
    """Raises OFF_POLICY if not even the freshest tokens have the logp that they were sampled with.

    The policy itself moves: tokens of n versions before (n > 1) may differ n times as much.
    """
    known = ~np.isnan(entries.behaviour)
    if not known.any():
        return
    staleness = _staleness(entries, version)[known]
    freshest = int(staleness.min())
    mismatch = float(np.abs(logp - entries.behaviour)[known][staleness == freshest].mean())
    limit = MISMATCH_LIMIT * max(1, freshest)
    if mismatch > limit:
        sampled = f" {freshest} versions ago" if freshest > 1 else " a version ago" if freshest else ""
        raise WorkerError(
            "OFF_POLICY",
            f"Tokens sampled{sampled} differ by {mismatch:.3g} per token in log-probability between sampler and "
            f"trainer, more than {limit:g}; the adapter was not changed.",
            "Sample with the weights, precision, chat template and temperature that are trained, without top_p or "
            "other filters.",
        )


def refuse_divergence(norm: float) -> None:
    """Raises STEP_DIVERGED if the gradient's norm is not finite."""
    if not np.isfinite(norm):
        raise WorkerError(
            "STEP_DIVERGED",
            f"The gradient's norm is {norm}; the adapter was not changed.",
            "Lower the learning rate, or resume from the last checkpoint.",
        )


def kl_to_base(
    engine: Engine, plan: Plan, params: Params, logp: np.ndarray, reference: np.ndarray | None = None
) -> float:
    """The KL over the tokens of KL_ROWS rows, or of all where ``reference`` knows the base."""
    if lora.changes_nothing(params):
        return 0.0
    if reference is None:
        rows = np.unique(plan.tree.entries.row).tolist()
        chosen = {rows[place] for place in measured_rows(len(rows))}
        found = engine.run(plan, None, only=chosen).logp
        reference = np.where(np.isin(plan.tree.entries.row, list(chosen)), found, np.nan)
    done = ~np.isnan(reference)
    return mean_kl(logp[done], reference[done])


def measured_rows(count: int) -> list[int]:
    """Which of a step's rows (indices) the KL is estimated on, the same for every engine."""
    return list(range(count))[:: max(1, count // KL_ROWS)][:KL_ROWS]


def mean_kl(logp: np.ndarray, reference: np.ndarray) -> float:
    """Mean of the k3 estimate of KL(policy || base) over tokens, in nats per token."""
    return float(loss.k3(logp.astype(np.float64), reference).mean())


def _staleness(entries: Entries, version: int | None) -> np.ndarray:
    """By how many versions the weights that sampled an entry are older than those that are trained."""
    return np.maximum(0, (entries.policy_version if version is None else version) - entries.policy_version)
