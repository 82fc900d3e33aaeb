"""The engine of Llama-shaped models on a CPU; see ``engine.Engine``. fp32 throughout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from hone_worker.cpu_llama.decoder import LlamaDecoder
from hone_worker.cpu_llama.hidden_states import HiddenStates
from hone_worker.cpu_llama.threads import cores
from hone_worker.cpu_llama.tree_passes import TreePasses
from hone_worker.cpu_llama.tree_plan import TreePlan, plan_tree
from hone_worker.cpu_llama.weights import LlamaWeights
from hone_worker.engine import PassResult, Slope
from hone_worker.lora import Adapter, Params
from hone_worker.packing import pack
from hone_worker.rows import Row


class Reference(Protocol):
    """The same model in the library's own implementation, with the adapter attached alike."""

    parameters: int

    def adapt(self, adapter: Adapter) -> None: ...
    def reference_logprobs(self, ids: np.ndarray, params: Params | None) -> np.ndarray: ...


class LlamaEngine:
    """``reuse_sampled_states``: what its decoders compute below the first adapted layer is kept, and plans
    take it from there; the last bits then depend on what was sampled."""

    name = "cpu_llama"
    device = "cpu"

    def __init__(self, weights: LlamaWeights, reference: Reference, reuse_sampled_states: bool = False) -> None:
        self.weights, self.hidden = weights, None
        self.layers, self.parameters = len(weights.layers), reference.parameters
        self.vocab_size, self.linears = len(weights.embed), weights.linears()
        self._reference, self._reuse = reference, reuse_sampled_states
        self._passes = TreePasses(weights, self.layers, 1.0, cores())

    def adapt(self, adapter: Adapter) -> None:
        self._reference.adapt(adapter)
        self._passes = TreePasses(self.weights, adapter.first_layer, adapter.config.scale, cores())
        if self._reuse and adapter.first_layer > 0:
            self.hidden = HiddenStates(adapter.first_layer, self.weights.hidden)

    def plan(self, rows: Sequence[Row]) -> TreePlan:
        return plan_tree(pack(rows), self._passes.workers, hidden=self.hidden)

    def run(
        self, plan: TreePlan, params: Params | None, slope: Slope | None = None, only: set[int] | None = None
    ) -> PassResult:
        return self._passes.run(plan, params, slope, only)

    def decoder(self) -> LlamaDecoder:
        return LlamaDecoder(self.weights, self._passes.scale, states=self.hidden)

    def reference_logprobs(self, ids: np.ndarray, params: Params | None) -> np.ndarray:
        return self._reference.reference_logprobs(ids, params)
