"""What an engine is to the rest of the worker: passes over rows to train on, and a decoder to sample with.

The step, the sampler, checkpoints and the worker's methods know these protocols and nothing of any
engine. An engine holds one frozen model. The adapter's numbers are the step's: each pass and each
decoder is given a dictionary of them (``lora.Params``; None is the base model), and it is the engine that
gets them into the model. Passes and decoders of one engine may share memory, so no two run at a time.

The same plan and parameters give the same bits, however threads are scheduled; another number of
threads, another machine or another engine may differ in the last digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hone_worker.config import LossConfig, OptimConfig
from hone_worker.lora import Adapter, Params
from hone_worker.optimizer import Optimizer
from hone_worker.packing import Tree
from hone_worker.rows import Row

# (indices of entries, their logp) to dL/dlogp: how a pass asks the loss for gradients.
Slope = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass
class PassResult:
    """Per entry of the plan, in nats, NaN where not computed: logp of its target, and the entropy of the
    distribution it is from. grads: dL/dparameter by name, empty without a slope."""

    logp: np.ndarray
    entropy: np.ndarray
    grads: dict[str, np.ndarray] = field(default_factory=dict)


class Plan(Protocol):
    """Rows prepared for any number of passes by the engine that planned them."""

    @property
    def tree(self) -> Tree:
        """The rows' tokens and, in ``tree.entries``, what is trained."""

    @property
    def physical(self) -> int:
        """How many tokens a pass computes: padding counts, ids that rows share count once."""


class Decoder(Protocol):
    """The sampler's forward pass. A row is one sequence with its keys and values; ``row.bytes`` is its memory.

    Whether a row's last bits depend on the rows beside it is each engine's to say; ``cpu_llama``'s do not.
    """

    def load(self, params: Params | None) -> None:
        """Makes the base with this adapter the policy; rows and prefixes made before are void."""

    def row(self, prefix: Any = None) -> Any:
        """A new sequence: empty, or one that begins with ``prefix``."""

    def prefix(self, ids: Sequence[int]) -> Any:
        """Computes ids that several rows begin with, once for all of them."""

    def forward(self, rows: Sequence[Any], new: Sequence[Sequence[int]], wanted: Sequence[bool]) -> np.ndarray:
        """Appends ``new[i]`` (not empty) to ``rows[i]``.

        Returns fp32 logits (wanted rows, vocab) after the last token of each wanted row, in the order
        given; the caller may write to them, and they are valid until the next call.
        """


class Engine(Protocol):
    """One frozen model. name: as in ``engine_choice``; device: "cpu", "gpu"; layers, parameters: how many;
    vocab_size: None where the model does not say; linears: (in, out) of every linear map of its layers,
    by path."""

    name: str
    device: str
    layers: int
    parameters: int
    vocab_size: int | None
    linears: Mapping[str, tuple[int, int]]

    def adapt(self, adapter: Adapter) -> None:
        """Takes an adapter's places and scale. Called once, before any pass or decoder is given its params."""

    def plan(self, rows: Sequence[Row]) -> Plan:
        """Prepares rows (at least one) for passes."""

    def run(
        self, plan: Plan, params: Params | None, slope: Slope | None = None, only: set[int] | None = None
    ) -> PassResult:
        """logp and entropy of every entry; with ``slope`` also the gradient of each parameter.

        An entry's slope is asked for once, when its logp is known, with whatever others the engine computes
        together. ``only``: the rows (indices) that are wanted, in a pass without slope.
        """

    def decoder(self) -> Decoder:
        """A decoder of the base model."""

    def reference_logprobs(self, ids: np.ndarray, params: Params | None) -> np.ndarray:
        """logp of ids[1:] (fp32) by the model library's own forward pass: what an export is proved with."""


@dataclass(frozen=True)
class Objective:
    """What one update minimises. kind: "rl" or "supervised"; factor: per trajectory of the batch (indexed by
    ``Row.sequence``), of its tokens in the loss, see ``loss.factors``; loss: options, of an RL update only;
    version: of the weights that are trained, None where nobody counts them."""

    kind: str
    factor: np.ndarray
    loss: LossConfig
    version: int | None = None


@runtime_checkable
class Learner(Protocol):
    """An engine that takes whole updates in its own array library, optimiser included. gpus: how many of this machine's
    it uses, the first ones that are visible; 0 on a CPU. dtype: of the base model, such as "float32".

    Other engines give gradients (``Engine.run``), and ``train`` does the rest in NumPy.
    """

    gpus: int
    dtype: str

    def new_optimizer(self, config: OptimConfig) -> Optimizer:
        """A fresh optimiser of the adapter given to ``adapt``."""

    def update(
        self,
        rows: Sequence[Row],
        objective: Objective,
        adapter: Adapter,
        optimizer: Optimizer,
        learning_rate: float | None,
    ) -> dict[str, float]:
        """One update from ``adapter.params`` (which it replaces) along the gradient of ``objective`` over all rows.

        Returns the figures that ``train`` makes for other engines, by the same names (``step_figures``). Raises
        WorkerError STEP_DIVERGED and OFF_POLICY, and has then changed nothing.
        """

    def free_memory(self) -> None:
        """Gives back the GPUs' memory that is held and not in use. Never fails."""

    def cache_bytes(self) -> int | None:
        """Memory for the keys and values of the sampler's rows; None: as much as the sampler takes anyway."""

    def close(self) -> None:
        """Ends what updates started: processes, loggers."""
