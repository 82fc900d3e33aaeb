"""The engine over torch: any architecture that transformers knows, on the CPU or on CUDA.

Errors: see ``model_loading`` and ``lightning_config``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
import torch

from hone_worker.config import LoraConfig, OptimConfig
from hone_worker.engine import Decoder, Objective, PassResult, Slope
from hone_worker.errors import WorkerError
from hone_worker.lightning import device_memory, launch, memory, micro_batches, model_loading, pass_memory, sharding
from hone_worker.lightning.adapted_model import AdaptedModel
from hone_worker.lightning.cached_decoder import CachedDecoder
from hone_worker.lightning.fit_loop import FitLoop
from hone_worker.lightning.library_decoder import LibraryDecoder
from hone_worker.lightning.lightning_config import LightningConfig
from hone_worker.lightning.micro_batches import Budget, TorchPlan
from hone_worker.lightning.moments import Moments
from hone_worker.lightning.passes import TorchPasses
from hone_worker.lightning.ranks import Group
from hone_worker.loading.model_files import ModelFiles, open_model
from hone_worker.lora import Adapter, Params
from hone_worker.rows import Row


def available() -> dict[str, Any]:
    """{device, torch, lightning, devices}: "cpu" or "gpu", versions, and the names of the CUDA devices."""
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    versions = {name: metadata.version(name) for name in ("torch", "lightning")}
    return {"device": "gpu" if devices else "cpu", **versions, "devices": devices}


def load(files: ModelFiles, options: dict[str, Any] | None, lora: LoraConfig | None = None) -> LightningEngine:
    """Loads the weights of ``files``, on every rank; ``options``: see ``LightningConfig``; ``lora``: the adapter that
    will be trained, which has to fit as well."""
    config = LightningConfig.from_json(options)
    if lora is not None:
        _require_memory(files, config, lora)
    group = launch.form(config)
    try:
        group.broadcast((files.id, files.path, files.cache, config))
        return _loaded(files, config, group)
    except BaseException as error:
        group.watch.close()
        raise group.watch.cause(error) from error


def _require_memory(files: ModelFiles, config: LightningConfig, lora: LoraConfig) -> None:
    device = model_loading.device()
    memory.require(
        files.id,
        files.config,
        lora,
        weight_bytes=model_loading.dtype_of(config.precision, device).itemsize,
        quantized=config.quantize == "4bit",
        context_tokens=files.context_tokens,
        free=device_memory.free_bytes(device),
        cuda=device.type == "cuda",
        spread=launch.ranks_per_node(config) * config.nodes if config.strategy == "fsdp2" else 1,
    )


def follow(group: Group) -> None:
    """Does what rank 0 does, on another rank, until rank 0 ends."""
    reference, path, cache, config = group.broadcast()
    # A folder on a disk that this node sees too, or what has to be fetched here.
    engine = _loaded(open_model(str(path) if path.is_dir() else reference, cache), config, group)
    engine.adapt(group.broadcast())
    engine.loop.follow()


def _loaded(files: ModelFiles, config: LightningConfig, group: Group) -> LightningEngine:
    group.sharded = config.strategy == "fsdp2" and group.world > 1
    # Weights that are to be spread may not fit one device.
    place = torch.device("cpu") if group.sharded else model_loading.device()
    model = AdaptedModel(model_loading.load_frozen(files, config, place))
    if config.prefix_sharing == "always" and not model.window:
        raise WorkerError(
            "CONFIG_INVALID",
            f"The model {files.id!r} has an attention of its own, which cannot share prefixes.",
            'Set prefix_sharing to "auto".',
        )
    return LightningEngine(model, config, files.context_tokens, group)


class LightningEngine:
    """See ``engine.Engine`` and ``engine.Learner``."""

    name = "lightning"

    def __init__(
        self, model: AdaptedModel, config: LightningConfig, context_tokens: int, group: Group | None = None
    ) -> None:
        self.model, self.config, self._context_tokens = model, config, context_tokens
        self.group = group or Group()
        self.device = "cpu" if model.device.type == "cpu" else "gpu"
        settings = model.module.config.get_text_config()
        self.layers, self.vocab_size = settings.num_hidden_layers, settings.vocab_size
        self.parameters = model.module.num_parameters()
        self.linears = model.linears
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.passes = TorchPasses(model)
        # Of this machine, in the order that torch numbers them; rollouts may have the others.
        self.gpus = self.group.world // self.group.place.nodes if self.device == "gpu" else 0

    def adapt(self, adapter: Adapter) -> None:
        if self.group.leads:
            self.group.broadcast(adapter)
        self.model.attach(adapter, spare=self.group.sharded)
        if self.group.sharded:
            sharding.shard(self.model, self.group)
        self.loop = FitLoop(self.model, self.plan, self.group, self.config)

    def new_optimizer(self, config: OptimConfig) -> Moments:
        return Moments(config)

    def update(
        self,
        rows: Sequence[Row],
        objective: Objective,
        adapter: Adapter,
        optimizer: Moments,
        learning_rate: float | None,
    ) -> dict[str, float]:
        return self.loop.update(rows, objective, adapter, optimizer, learning_rate)

    def free_memory(self) -> None:
        """Gives back the GPUs' memory that torch holds unused, on every rank."""
        self.loop.free_memory()

    def close(self) -> None:
        self.loop.close()

    def plan(self, rows: Sequence[Row]) -> TorchPlan:
        share = self.config.prefix_sharing != "never"
        return micro_batches.plan(rows, self._budgets(), self.model.window, self.model.device, share)

    def _budgets(self) -> list[Budget]:
        room = pass_memory.measure(self.model)
        chosen, cap = self.config.gradient_checkpointing, self.config.micro_batch_tokens
        kept = Budget(cap or max(1, room.kept))
        again = Budget(cap or max(1, room.recomputed), True, pass_memory.RECOMPUTED_COST)
        if cap and chosen == "auto":
            return [kept if cap <= room.kept else again]
        return [budget for budget in (kept, again) if chosen in ("auto", budget.recompute)]

    def run(
        self, plan: TorchPlan, params: Params | None, slope: Slope | None = None, only: set[int] | None = None
    ) -> PassResult:
        if self.group.sharded:
            return self.loop.run(plan, params)
        return self.passes.run(plan, params, slope, only)

    def cache_bytes(self) -> int | None:
        return pass_memory.for_caches(self.model)

    def decoder(self) -> Decoder:
        if self.group.sharded:
            raise WorkerError(
                "ENGINE_UNSUITABLE",
                "With strategy fsdp2 no rank holds the whole model, so that none can sample from it.",
                "Let vLLM sample, or set strategy ddp.",
            )
        return CachedDecoder(self.model) if self._context_tokens <= self.model.window else LibraryDecoder(self.model)

    def reference_logprobs(self, ids: np.ndarray, params: Params | None) -> np.ndarray:
        return (self.loop if self.group.sharded else self.model).reference_logprobs(ids, params)
