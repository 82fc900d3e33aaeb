"""A pass over one micro-batch: log-probabilities, entropy, and what backward adds to the adapter's gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from hone_worker.engine import PassResult, Slope
from hone_worker.lightning import frozen_head
from hone_worker.lightning.adapted_model import AdaptedModel
from hone_worker.lightning.micro_batches import MicroBatch, TorchPlan
from hone_worker.lora import Params

# logp of a micro-batch's entries (fp32) to dL/dlogp, in tensors.
TensorSlope = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Scored:
    """surrogate: a scalar whose ``backward()`` adds Σ slope · ∂logp/∂θ to the adapter's gradients; its value means
    nothing. logp, entropy: of the micro-batch's entries, fp32, without graph."""

    surrogate: torch.Tensor
    logp: torch.Tensor
    entropy: torch.Tensor


class TorchPasses:
    """Passes over plans of one model, with whatever adapter it is set to use."""

    def __init__(self, model: AdaptedModel) -> None:
        self._model = model

    def scored(self, micro: MicroBatch, slope: TensorSlope | None) -> Scored:
        """Computes a micro-batch, with a graph if ``slope`` is given."""
        self._model.recompute(micro.recompute and slope is not None)
        with torch.set_grad_enabled(slope is not None):
            logp, entropy = self._logp(micro)
        done = logp.detach()
        if slope is None:
            return Scored(torch.zeros((), device=logp.device), done, entropy)
        return Scored((slope(done).to(logp.dtype) * logp).sum(), done, entropy)

    def _logp(self, micro: MicroBatch) -> tuple[torch.Tensor, torch.Tensor]:
        model, entries = self._model, micro.entries
        if model.head_is_linear:
            states = model.states(micro.ids, micro.positions, micro.hone_pass, micro.mask)
            picked = states.reshape(-1, states.shape[-1])[entries.state]
            return frozen_head.through(picked, entries.target, model.head.weight, model.head.bias)
        logits = model.logits(micro.ids, micro.positions, micro.hone_pass, micro.mask, micro.columns)
        return frozen_head.of_logits(logits.flatten(0, 1)[micro.picked], entries.target)

    def run(
        self, plan: TorchPlan, params: Params | None, slope: Slope | None, only: set[int] | None
    ) -> PassResult:
        """See ``engine.Engine.run``."""
        model = self._model
        name = model.use(params)
        empty = np.full(len(plan.tree.entries), np.nan, np.float32)
        result = PassResult(empty.copy(), empty.copy())
        if slope is not None and name is not None:
            model.forget_gradients(name)
        for micro in plan.micros:
            if only is not None and not only.intersection(micro.members):
                continue
            found = self.scored(micro, _on_host(slope, micro) if slope and name else None)
            result.logp[micro.index] = found.logp.cpu().numpy()
            result.entropy[micro.index] = found.entropy.cpu().numpy()
            if slope is not None and name is not None:
                found.surrogate.backward()
        if slope is not None and name is not None:
            result.grads = model.gradients(name)
            model.forget_gradients(name)
        return result


def _on_host(slope: Slope, micro: MicroBatch) -> TensorSlope:
    def asked(logp: torch.Tensor) -> torch.Tensor:
        found = slope(micro.index, logp.cpu().numpy())
        return torch.as_tensor(np.asarray(found, np.float32), device=logp.device)

    return asked
