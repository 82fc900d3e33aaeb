"""What Lightning trains: one update of the adapter is one epoch, its micro-batches are the batches.

Nothing waits for the device while an epoch runs. When its gradients are complete, everything that the step says of
itself comes to the host at once (``_found``), rank 0 judges it, and the optimiser moves the weights or, if the step is
refused, has nothing to move them along.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import torch

from hone_worker import loss, step_figures
from hone_worker.config import OptimConfig
from hone_worker.engine import Objective
from hone_worker.errors import WorkerError
from hone_worker.lightning import moments
from hone_worker.lightning.adapted_model import AdaptedModel
from hone_worker.lightning.micro_batches import MicroBatch, TorchPlan
from hone_worker.lightning.passes import TorchPasses
from hone_worker.lightning.ranks import Group
from hone_worker.lora import Params
from hone_worker.packing import Entries
from hone_worker.rows import Row



@dataclass(frozen=True)
class Update:
    """What every rank is told of a step. rate: of learning; moves: whether the adapter differs from the base;
    params, moments: where they are not what the ranks hold."""

    rows: list[Row]
    objective: Objective
    optim: OptimConfig
    rate: float
    updates: int
    moves: bool
    params: Params | None
    moments: moments.Pair | None

    @property
    def measured(self) -> list[int]:
        """Rows on which the KL to the base model is estimated; none where every token's is known or it is 0."""
        if self.objective.kind != "rl" or self.objective.loss.beta > 0 or not self.moves:
            return []
        return step_figures.measured_rows(len(self.rows))


@dataclass(frozen=True)
class Outcome:
    """What rank 0 answers. params: the moved adapter, None if the step was refused; seconds: from the time when all
    ranks knew of the update."""

    figures: dict[str, float]
    refusal: WorkerError | None
    params: dict[str, np.ndarray] | None
    seconds: float


@dataclass(frozen=True)
class _Batch:
    """index: of the micro-batch's entries in the plan, on the device; counts: False if it only keeps this rank as
    busy as the others."""

    micro: MicroBatch
    index: torch.Tensor
    counts: bool


@dataclass(frozen=True)
class _Found:
    """What a rank knows of its entries when its gradients are complete; row: of the step."""

    entries: Entries
    row: np.ndarray
    logp: np.ndarray
    entropy: np.ndarray
    reference: np.ndarray | None
    logical: int
    physical: int


@dataclass
class _Step:
    """An update on this rank. members: its rows of the step; factor: per entry; reference: the base model's logp;
    fixed: slopes that were known before the epoch."""

    update: Update
    started: float
    plan: TorchPlan
    members: list[int]
    batches: list[_Batch]
    factor: torch.Tensor
    reference: torch.Tensor | None = None
    measured: tuple[TorchPlan, torch.Tensor] | None = None
    fixed: torch.Tensor | None = None
    scored: list[tuple[_Batch, torch.Tensor, torch.Tensor]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    refusal: WorkerError | None = None


class PolicyModule(lightning.LightningModule):
    """``following``: blocks until there is an update, None ends the training; ``answer``: takes what became of it,
    on rank 0."""

    def __init__(
        self,
        model: AdaptedModel,
        plan: Callable[[Sequence[Row]], TorchPlan],
        group: Group,
        following: Callable[[], Update | None],
        answer: Callable[[Outcome], None],
    ) -> None:
        super().__init__()
        self.base = model.module
        self.weights = model.parameters()
        self.adamw = torch.optim.AdamW(list(self.weights.values()))
        self._model, self._passes, self._plan = model, TorchPasses(model), plan
        self._group = group
        self._following, self._answer = following, answer
        assert model.adapter is not None
        self._held: Params = model.adapter.params
        self._step: _Step | None = None

    # What Lightning calls before an epoch.

    def configure_model(self) -> None:
        """Sharded weights were sharded while they were loaded."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.adamw

    def train_dataloader(self) -> _Sized:
        update = self._following()
        if update is None:
            self.trainer.should_stop = True
            return _Sized([])
        self._step = self._begun(update)
        return _Sized(self._step.batches)

    def transfer_batch_to_device(self, batch: _Batch, device: torch.device, dataloader_idx: int) -> _Batch:
        return batch

    def cpu(self) -> PolicyModule:
        """Lightning would move the model there when training ends, and others compute with it."""
        return self

    def _begun(self, update: Update) -> _Step:
        members = self._group.partition(update.rows)
        # A rank without rows computes the shortest one, and it does not count.
        shortest = min(update.rows, key=lambda row: len(row.ids))
        plan = self._plan([update.rows[i] for i in members] or [shortest])
        batches = [_Batch(micro, self._on_device(micro.index), bool(members)) for micro in plan.micros]
        # Every rank takes part in as many passes as the busiest one.
        least = min(batches, key=lambda batch: batch.micro.tokens)
        idle = _Batch(least.micro, least.index, False)
        batches += [idle] * (self._group.maximum(len(batches)) - len(batches))
        factor = self._on_device(update.objective.factor[plan.tree.entries.sequence])
        return _Step(update, time.perf_counter(), plan, members, batches, factor)

    def on_train_epoch_start(self) -> None:
        step = self._step
        if step is None:
            return
        self.trainer.accumulate_grad_batches = len(step.batches)
        self._load(step.update)
        # What dropout drops depends on the step and the rank alone, so that a resumed run drops the same.
        torch.manual_seed(step.update.updates * self._group.world + self._group.place.rank)
        self._model.use(None)
        objective, entries = step.update.objective, step.plan.tree.entries
        if objective.kind == "rl" and objective.loss.beta > 0:
            step.reference = self._logp(step.plan, step.batches)
        if step.update.measured and (self._group.leads or self._group.sharded):
            plan = self._plan([step.update.rows[i] for i in step.update.measured])
            batches = [_Batch(micro, self._on_device(micro.index), True) for micro in plan.micros]
            step.measured = plan, self._logp(plan, batches)
        self._model.use(self._held)
        if objective.kind == "rl" and objective.loss.by_trajectory:
            # A token's slope depends on others, which another micro-batch may hold.
            logp = self._logp(step.plan, step.batches)
            whole = Entries(**{
                name: self._on_device(getattr(entries, name)) for name in Entries.__dataclass_fields__})
            step.fixed = loss.policy(logp, whole, step.factor, objective.loss, step.reference, torch).slope
        self.base.train()

    def _load(self, update: Update) -> None:
        if update.params is not None:
            self._model.upload(update.params)
            self._held = update.params
        if update.moments is not None:
            moments.put(self.adamw, self.weights, update.updates, update.moments)
        c = update.optim
        for group in self.adamw.param_groups:
            group.update(lr=update.rate, betas=(c.beta1, c.beta2), eps=c.eps, weight_decay=c.weight_decay)

    def _logp(self, plan: TorchPlan, batches: list[_Batch]) -> torch.Tensor:
        out = torch.full((len(plan.tree.entries),), torch.nan, device=self._model.device)
        for batch in batches:
            out[batch.index] = self._passes.scored(batch.micro, None).logp
        return out

    def _on_device(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, device=self._model.device)

    # An epoch.

    def training_step(self, batch: _Batch, _: int) -> torch.Tensor:
        step = self._step
        assert step is not None
        scored = self._passes.scored(batch.micro, lambda logp: self._slope(step, batch, logp))
        if batch.counts:
            step.scored.append((batch, scored.logp, scored.entropy))
        # Lightning divides by the micro-batches, and DDP by the ranks; the gradient is to be the sum.
        return scored.surrogate * (len(step.batches) * (1 if self._group.sharded else self._group.world))

    @staticmethod
    def _slope(step: _Step, batch: _Batch, logp: torch.Tensor) -> torch.Tensor:
        if not batch.counts:
            return torch.zeros_like(logp)
        if step.fixed is not None:
            return step.fixed[batch.index]
        factor, objective = step.factor[batch.index], step.update.objective
        if objective.kind == "supervised":
            return loss.cross_entropy(logp, factor, torch).slope
        reference = None if step.reference is None else step.reference[batch.index]
        return loss.policy(logp, batch.micro.entries, factor, objective.loss, reference, torch).slope

    # When the gradients are complete.

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        step = self._step
        assert step is not None
        grads = [weight.grad for weight in self.weights.values() if weight.grad is not None]
        if self._group.sharded:
            self._group.all_reduce(grads)
        found, norm, base = self._found(step, grads)
        parts = self._group.gather(found)
        if self._group.leads:
            step.figures, step.refusal = _judged(step.update, parts, norm, base)
        if self._group.broadcast(step.refusal is not None):
            # Without gradients AdamW changes neither weights nor moments.
            for weight in self.weights.values():
                weight.grad = None
            return
        limit = step.update.optim.grad_clip
        if 0 < limit < norm:
            torch._foreach_mul_(grads, limit / norm)

    def _found(self, step: _Step, grads: list[torch.Tensor]) -> tuple[_Found, float, np.ndarray | None]:
        """Everything that the host has to know, in one transfer: the entries, the gradient's norm, and the base
        model's logp of the measured rows."""
        count = len(step.plan.tree.entries)
        logp, entropy = (torch.full((count,), torch.nan, device=self._model.device) for _ in range(2))
        for batch, found, spread in step.scored:
            logp[batch.index], entropy[batch.index] = found, spread
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        parts = [logp, entropy, norm.view(1)]
        parts += [] if step.reference is None else [step.reference]
        parts += [] if step.measured is None else [step.measured[1]]
        values = iter(np.split(torch.cat(parts).cpu().numpy(), np.cumsum([len(part) for part in parts])[:-1]))
        logp, entropy, total = next(values), next(values), float(next(values)[0])
        reference = None if step.reference is None else next(values)
        base = None if step.measured is None else next(values)
        entries, kept = step.plan.tree.entries, len(step.members) > 0
        index = np.arange(count if kept else 0)
        row = np.asarray(step.members, np.int64)[entries.row[index]] if kept else index
        mine = None if reference is None else reference[index]
        plan = step.plan
        sizes = (plan.tree.logical, plan.physical) if kept else (0, 0)
        return _Found(entries.take(index), row, logp[index], entropy[index], mine, *sizes), total, base

    def on_train_epoch_end(self) -> None:
        self.base.eval()
        step, self._step = self._step, None
        if step is None or not self._group.leads:
            return
        params = None
        if step.refusal is None:
            params = self._model.download()
            self._held = params
        self._answer(Outcome(step.figures, step.refusal, params, time.perf_counter() - step.started))


class _Sized:
    """Batches of an epoch; with a length, Lightning does not fetch the next epoch's ahead."""

    def __init__(self, batches: list[_Batch]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[_Batch]:
        return iter(self._batches)


def _judged(
    update: Update, parts: list[_Found], norm: float, base: np.ndarray | None
) -> tuple[dict[str, float], WorkerError | None]:
    """The figures of the whole step, and why it is refused."""
    row = np.concatenate([part.row for part in parts])
    order = np.argsort(row, kind="stable")

    def whole(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays)[order]

    entries = Entries(**{
        name: whole([getattr(part.entries, name) for part in parts]) for name in Entries.__dataclass_fields__})
    logp, entropy, row = whole([part.logp for part in parts]), whole([part.entropy for part in parts]), row[order]
    objective, reference = update.objective, None
    factor = objective.factor[entries.sequence]
    if parts[0].reference is not None:
        reference = whole([part.reference for part in parts])
    try:
        if objective.kind == "supervised":
            figures = {"loss": float(loss.cross_entropy(logp, factor).value.sum())}
        else:
            version = objective.version
            step_figures.refuse_off_policy(entries, logp, version)
            figures = step_figures.of_policy(entries, logp, entropy, factor, objective.loss, reference, version)
            figures["kl_base"] = _kl(update, logp, row, reference, base)
        step_figures.refuse_divergence(norm)
    except WorkerError as refusal:
        return {}, refusal
    tokens = {
        "logical_tokens": sum(part.logical for part in parts),
        "physical_tokens": sum(part.physical for part in parts),
    }
    return {**figures, **tokens, "grad_norm": norm, "learning_rate": update.rate}, None


def _kl(
    update: Update, logp: np.ndarray, row: np.ndarray, reference: np.ndarray | None, base: np.ndarray | None
) -> float:
    """The KL to the base model over the tokens whose base logp is known."""
    if not update.moves:
        return 0.0
    if reference is None:
        reference, logp = base, logp[np.isin(row, update.measured)]
    return step_figures.mean_kl(logp, reference)
