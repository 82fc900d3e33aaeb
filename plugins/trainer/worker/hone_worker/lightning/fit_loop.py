"""Lightning's Trainer in a thread of its own, for as long as the worker lives: an update goes in, figures come out.

One thread asks (the worker's); the answer to a question comes before the next. A step that fails ends the fit; the
next update starts another, with the weights and moments that were there before.

Errors: WorkerError OUT_OF_MEMORY, and those of ``module``.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy, Strategy

from hone_worker.engine import Objective, PassResult
from hone_worker.errors import WorkerError
from hone_worker.lightning import memory, moments, pass_memory
from hone_worker.lightning.adapted_model import AdaptedModel
from hone_worker.lightning.lightning_config import LightningConfig
from hone_worker.lightning.micro_batches import TorchPlan
from hone_worker.lightning.module import PolicyModule, Update
from hone_worker.lightning.passes import TorchPasses
from hone_worker.lightning.ranks import Group, RunningRanks
from hone_worker.lightning.telemetry import Cost, Emissions, Loggers
from hone_worker.lora import Adapter, Params, changes_nothing
from hone_worker.rows import Row

# What Lightning tells people who write their own loop.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", module=r"lightning\.")

# The ranks end their fit in so long, or are ended.
_CLOSE_SECS = 2.0


@dataclass(frozen=True)
class Pass:
    """A forward pass that needs all ranks."""

    rows: list[Row]
    params: Params | None


@dataclass(frozen=True)
class Reference:
    """The model library's own pass, which needs all ranks too."""

    ids: np.ndarray
    params: Params | None


@dataclass(frozen=True)
class Release:
    """Every rank gives back what it holds unused of its GPU's memory."""


# None ends the training.
Command = Update | Pass | Reference | Release | None


class FitLoop:
    """The training of one adapted model."""

    def __init__(
        self,
        model: AdaptedModel,
        plan: Callable[[Sequence[Row]], TorchPlan],
        group: Group,
        config: LightningConfig,
    ) -> None:
        self._model, self._plan, self._group, self._watch = model, plan, group, group.watch
        self._quantized = config.quantize is not None
        self._cost, self._loggers = Cost(model, group.world), Loggers(config)
        carbon = config.carbon if group.leads else None
        self._emissions = [Emissions(carbon["country_iso_code"], config.log_dir)] if carbon else []
        self._thread: threading.Thread | None = None
        self._lost: BaseException | None = None
        self._ending, self._ready = False, threading.Event()
        self._asked: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._passes = TorchPasses(model)
        self._module = PolicyModule(model, plan, group, self._following, self._answers.put)
        # What the ranks hold.
        assert model.adapter is not None
        self._params: Params | None = model.adapter.params
        self._moments: moments.Moments | None = None
        if group.world > 1 and group.leads:
            # The others are in their fit already.
            self._watch.on_death = self._died
            self._start()

    def update(
        self,
        rows: Sequence[Row],
        objective: Objective,
        adapter: Adapter,
        optimizer: moments.Moments,
        learning_rate: float | None,
    ) -> dict[str, float]:
        """See ``engine.Learner.update``."""
        self._cost.begin()
        known = optimizer is self._moments and optimizer.live
        if self._moments not in (None, optimizer):
            # Another one takes its place in torch.
            self._moments.lend(None)
        outcome = self._ask(Update(
            rows=list(rows),
            objective=objective,
            optim=optimizer.config,
            rate=optimizer.rate(learning_rate),
            updates=optimizer.updates,
            moves=not changes_nothing(adapter.params),
            params=None if adapter.params is self._params else adapter.params,
            moments=None if known else optimizer.pair,
        ))
        optimizer.lend(self._fetch)
        self._moments, self._params = optimizer, outcome.params or adapter.params
        if outcome.refusal is not None:
            raise outcome.refusal
        adapter.params = outcome.params
        optimizer.updates += 1
        figures = dict(outcome.figures)
        figures |= self._cost.figures(outcome.seconds, figures["logical_tokens"], figures["physical_tokens"])
        for emissions in self._emissions:
            figures |= emissions.figures
        self._loggers.log(objective.kind, optimizer.updates, figures)
        return figures

    def run(self, plan: TorchPlan, params: Params | None) -> PassResult:
        """``Engine.run`` without a slope, by all ranks together."""
        return self._ask(Pass(list(plan.rows), params))

    def reference_logprobs(self, ids: np.ndarray, params: Params | None) -> np.ndarray:
        """``Engine.reference_logprobs`` by all ranks together."""
        return self._ask(Reference(ids, params))

    def free_memory(self) -> None:
        """Gives back what torch holds unused of the GPUs' memory, on every rank. Never fails: ranks that are lost
        hold nothing, and the step that lost them has said so."""
        if self._group.world == 1:
            torch.cuda.empty_cache()
            return
        with contextlib.suppress(Exception):
            self._ask(Release())

    def close(self) -> None:
        """Ends the training, on every rank."""
        if self._thread is not None and self._thread.is_alive() and not self._watch.dead:
            self._asked.put(None)
            self._thread.join(_CLOSE_SECS)
        self._watch.close()
        self._loggers.close()

    def _fetch(self) -> moments.Pair:
        return moments.get(self._module.adamw, self._module.weights)

    # The worker's thread and Lightning's.

    def _ask(self, command: Command) -> Any:
        if self._watch.dead:
            raise self._watch.dead
        if self._thread is None or not self._thread.is_alive():
            if self._lost:
                raise self._lost
            self._start()
        self._asked.put(command)
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            self._params = self._moments = None
            # A fit that failed while it began took no command.
            self._asked = queue.SimpleQueue()
            raise answer
        return answer

    def _start(self) -> None:
        self._ready.clear()
        self._thread = threading.Thread(target=self._fit, name="lightning", daemon=True)
        self._thread.start()
        # While DDP looks which weights are trained, nobody else may switch adapters.
        self._ready.wait()

    def _died(self, cause: WorkerError) -> None:
        self._answers.put(cause)
        self._ready.set()

    def _following(self) -> Update | None:
        self._ready.set()
        while True:
            command: Command = self._group.broadcast(self._asked.get() if self._group.leads else None)
            if command is None or isinstance(command, Update):
                self._ending = command is None
                return command
            found = self._done(command)
            if self._group.leads:
                self._answers.put(found)

    def _done(self, command: Pass | Reference | Release) -> Any:
        if isinstance(command, Pass):
            return self._passes.run(self._plan(command.rows), command.params, None, None)
        if isinstance(command, Reference):
            return self._model.reference_logprobs(command.ids, command.params)
        torch.cuda.empty_cache()
        return self._group.gather(None)

    def _fit(self) -> None:
        try:
            self.follow()
        except BaseException as error:
            cause = self._watch.cause(self._named(error))
            if self._group.world > 1:
                # What the ranks have exchanged so far is unknown: there is no going on.
                self._lost = cause
                self._watch.close()
            if cause is not self._watch.dead:
                self._answers.put(cause)
        finally:
            self._ready.set()

    def _named(self, error: BaseException) -> BaseException:
        if memory.ran_out(error):
            device, tokens = self._model.device, pass_memory.measure(self._model).recomputed
            return memory.exhausted(error, tokens, self._quantized, device.type == "cuda")
        if self._group.world > 1 and isinstance(error, RuntimeError):
            return WorkerError(
                "RANK_DIED",
                f"The ranks lost each other: {str(error).strip().splitlines()[0]}",
                "The log of the launcher says which rank ended. Resume the run: it goes on from the last checkpoint.",
            )
        return error

    def follow(self) -> None:
        """Trains until there is nothing more to do."""
        self._model.use(self._model.adapter.params)
        try:
            _trainer(self._model.device, self._group, self._emissions).fit(self._module)
        except RuntimeError:
            # Of ranks that end, one is the first, and the others may miss it.
            if not self._ending:
                raise


def _trainer(device: torch.device, group: Group, callbacks: Sequence[lightning.Callback]) -> lightning.Trainer:
    place = group.place
    local = place.world // place.nodes
    return lightning.Trainer(
        accelerator="cpu" if device.type == "cpu" else "gpu",
        devices=[device.index] if group.world == 1 and device.type == "cuda" else local,
        num_nodes=place.nodes,
        strategy=_strategy(device, group),
        plugins=[RunningRanks(place)],
        max_epochs=-1,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _strategy(device: torch.device, group: Group) -> Strategy:
    if group.world == 1:
        return SingleDeviceStrategy(device)
    if group.sharded:
        return ModelParallelStrategy(data_parallel_size=group.world, tensor_parallel_size=1)
    # Every rank gets the adapter's numbers from rank 0 before it trains.
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True, init_sync=False)
