"""One optimiser step over a batch, supervised or by policy gradient.

The trainer is blind to algorithms: it takes rows with advantages and weights, asks the loss for
∂L/∂logp, an engine (``cascade`` or ``general``) for gradients, and updates the adapter's arrays.
A step that was done is answered from memory, so a caller may repeat it after a crash. The same
batch on the same state gives the same bits.

Errors: WorkerError BATCH_EMPTY (nothing to train), STEP_DIVERGED (the gradient is not finite;
nothing was changed), BATCH_INVALID (ids outside the vocabulary).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hone_worker import optim
from hone_worker.config import LossConfig, OptimConfig
from hone_worker.errors import WorkerError
from hone_worker.mlx import loss
from hone_worker.mlx.cascade import Cascade
from hone_worker.mlx.general import General
from hone_worker.mlx.lora import Lora
from hone_worker.mlx.model import LoadedModel
from hone_worker.packing import Slope
from hone_worker.trajectory import Row, Trajectory, to_rows

# On so many rows of a step the KL to the base model is estimated.
KL_ROWS = 8


@dataclass
class _Job:
    """A batch ready to train. rows: those computed; tokens, row counts: of all of them."""

    rows: list[Row]
    factor: np.ndarray
    tokens: int
    all_rows: int
    forks: int


class Trainer:
    """The adapter, its optimiser and the results of past steps.

    ``step`` is the number of the last policy step; ``results`` maps "train_step:3" and
    "supervise:1" to what those calls answered.
    """

    def __init__(self, model: LoadedModel, adapter: Lora, config: OptimConfig, seed: int = 0) -> None:
        self.model, self.adapter, self.seed = model, adapter, seed
        self.optimizer = optim.AdamW(config)
        self.engine = (
            Cascade(model.fast, adapter.first_layer, adapter.config.scale) if model.fast else General(model.module)
        )
        self.step = 0
        self.results: dict[str, dict[str, Any]] = {}

    def supervise(
        self, step: int, trajectories: Sequence[Trajectory], learning_rate: float | None = None
    ) -> dict[str, Any]:
        """One step of cross entropy on the sampled tokens; advantages are ignored."""
        return self._once("supervise", step, lambda: self._supervise(step, trajectories, learning_rate))

    def train_step(
        self, step: int, trajectories: Sequence[Trajectory], config: LossConfig, learning_rate: float | None = None
    ) -> dict[str, Any]:
        """One step of policy gradient."""
        return self._once("train_step", step, lambda: self._policy(step, trajectories, config, learning_rate))

    def logprobs(self, trajectories: Sequence[Trajectory]) -> dict[str, Any]:
        """Under the current adapter, logp of every sampled token, in the order sampled."""
        rows = to_rows(trajectories)
        out: dict[int, dict[tuple[int, int], float]] = {i: {} for i in range(len(trajectories))}
        if rows:
            plan = self.engine.plan(rows)
            logp = self.engine.run(plan, self.adapter.params).logp
            for index, row in enumerate(rows):
                values = logp[plan.tree.entries.row == index].tolist()
                out[row.sequence].update(zip(row.source, values, strict=True))
        return {
            "rows": [
                {"rollout_id": t.rollout_id, "logprobs": [out[i][place] for place in sorted(out[i])]}
                for i, t in enumerate(trajectories)
            ]
        }

    def _once(self, kind: str, step: int, work: Any) -> dict[str, Any]:
        known = self.results.get(f"{kind}:{step}")
        if known is not None:
            return known
        started = time.perf_counter()
        result = work()
        result["seconds"] = time.perf_counter() - started
        self.results[f"{kind}:{step}"] = result
        if kind == "train_step":
            self.step = max(self.step, step)
        return result

    def _supervise(
        self, step: int, trajectories: Sequence[Trajectory], learning_rate: float | None
    ) -> dict[str, Any]:
        job = self._prepare(trajectories, LossConfig(), skip_zero=False)
        if not job.rows:
            raise WorkerError("BATCH_EMPTY", "The batch has no token to train on.", "Give rows with weight > 0.")
        plan = self.engine.plan(job.rows)
        factor = job.factor[plan.tree.entries.sequence]
        result = self.engine.run(plan, self.adapter.params, lambda i, _: -factor[i])
        norm, rate = self._apply(result.grads, learning_rate)
        return {
            "step": step,
            "loss": float(loss.cross_entropy(result.logp, factor).value.sum()),
            "tokens": job.tokens,
            "logical_tokens": plan.tree.logical,
            "physical_tokens": plan.physical,
            "grad_norm": norm,
            "learning_rate": rate,
        }

    def _policy(
        self, step: int, trajectories: Sequence[Trajectory], config: LossConfig, learning_rate: float | None
    ) -> dict[str, Any]:
        job = self._prepare(trajectories, config, skip_zero=config.beta == 0)
        outcome = {"step": step, "tokens": job.tokens, "rows": job.all_rows, "forks": job.forks}
        if not job.rows:
            # Nothing has an advantage: a step without effect, not an error.
            return {**outcome, **_NO_SIGNAL, "learning_rate": self.optimizer.rate(learning_rate)}
        plan = self.engine.plan(job.rows)
        entries, params = plan.tree.entries, self.adapter.params
        factor = job.factor[entries.sequence]
        reference = self.engine.run(plan, None).logp if config.beta > 0 else None
        slope = self._slope(plan, factor, config, reference)
        result = self.engine.run(plan, params, slope)
        known = ~np.isnan(entries.behaviour)
        gap = np.abs(result.logp - entries.behaviour)[known]
        valued = loss.policy(result.logp, entries, factor, config, reference)
        kl = self._kl_base(plan, result.logp, reference)
        norm, rate = self._apply(result.grads, learning_rate)
        return {
            **outcome,
            "loss": float(valued.value.sum()),
            "grad_norm": norm,
            "logical_tokens": plan.tree.logical,
            "physical_tokens": plan.physical,
            "kl_base": kl,
            "mismatch_abs": float(gap.mean()) if gap.size else 0.0,
            "mismatch_max": float(gap.max()) if gap.size else 0.0,
            "entropy": float(result.entropy.mean()),
            "clip_fraction": float(valued.clipped.mean()),
            "learning_rate": rate,
        }

    def _prepare(self, trajectories: Sequence[Trajectory], config: LossConfig, skip_zero: bool) -> _Job:
        rows = to_rows(trajectories)
        size = int(self.model.config["vocab_size"]) if "vocab_size" in self.model.config else None
        if size is not None and any(int(row.ids.max()) >= size for row in rows):
            raise WorkerError(
                "BATCH_INVALID",
                f"The batch has ids outside the model's vocabulary of {size}.",
                "Give ids that this model's endpoint returned.",
            )
        lengths = np.zeros(len(trajectories))
        for row in rows:
            lengths[row.sequence] += row.mask.sum()
        weights = np.array([t.weight for t in trajectories])
        return _Job(
            # With advantage 0 a row has no gradient; it still counts in the normaliser.
            rows=[row for row in rows if row.advantage != 0] if skip_zero else rows,
            factor=loss.factors(weights, lengths, config) if len(weights) else weights,
            tokens=int(lengths.sum()),
            all_rows=len(rows),
            forks=sum(row.origin != "CLEAN" for row in rows),
        )

    def _slope(self, plan: Any, factor: np.ndarray, config: LossConfig, reference: np.ndarray | None) -> Slope:
        entries = plan.tree.entries
        if config.ratio == "sequence":
            # A trajectory's ratio needs all of its tokens before any gradient.
            logp = self.engine.run(plan, self.adapter.params).logp
            fixed = loss.policy(logp, entries, factor, config, reference).slope
            return lambda index, _: fixed[index]

        def slope(index: np.ndarray, logp: np.ndarray) -> np.ndarray:
            part = None if reference is None else reference[index]
            return loss.policy(logp, entries.take(index), factor[index], config, part).slope

        return slope

    def _kl_base(self, plan: Any, logp: np.ndarray, reference: np.ndarray | None) -> float:
        if not any(value.any() for name, value in self.adapter.params.items() if name.endswith("lora_b")):
            return 0.0
        if reference is None:
            rows = np.unique(plan.tree.entries.row)
            chosen = set(rows[:: max(1, len(rows) // KL_ROWS)][:KL_ROWS].tolist())
            found = self.engine.run(plan, None, only=chosen).logp
            reference = np.where(np.isin(plan.tree.entries.row, list(chosen)), found, np.nan)
        done = ~np.isnan(reference)
        return float(loss.k3(logp[done].astype(np.float64), reference[done]).mean())

    def _apply(self, grads: optim.Arrays, learning_rate: float | None) -> tuple[float, float]:
        norm = optim.global_norm(grads)
        if not np.isfinite(norm):
            raise WorkerError(
                "STEP_DIVERGED",
                f"The gradient's norm is {norm}; the adapter was not changed.",
                "Lower the learning rate, or resume from the last checkpoint.",
            )
        rate = self.optimizer.rate(learning_rate)
        clipped = optim.clip(grads, norm, self.optimizer.config.grad_clip)
        self.adapter.params = self.optimizer.update(self.adapter.params, clipped, learning_rate)
        return norm, rate


_NO_SIGNAL = {
    "loss": 0.0,
    "grad_norm": 0.0,
    "logical_tokens": 0,
    "physical_tokens": 0,
    "kl_base": 0.0,
    "mismatch_abs": 0.0,
    "mismatch_max": 0.0,
    "clip_fraction": 0.0,
}
