"""The engine over torch: any architecture that transformers knows, on the CPU or on CUDA.

Errors: see ``model_loading`` and ``lightning_config``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
import torch

from hone_worker.engine import Decoder, PassResult, Slope
from hone_worker.lightning import micro_batches, model_loading
from hone_worker.lightning.adapted_model import AdaptedModel
from hone_worker.lightning.cached_decoder import CachedDecoder
from hone_worker.lightning.library_decoder import LibraryDecoder
from hone_worker.lightning.lightning_config import LightningConfig
from hone_worker.lightning.micro_batches import TorchPlan
from hone_worker.lightning.passes import TorchPasses
from hone_worker.loading.model_files import ModelFiles
from hone_worker.lora import Adapter, Params
from hone_worker.rows import Row

# Tokens that a pass computes together when the options say nothing.
_MICRO_BATCH_TOKENS = 16384


def available() -> dict[str, Any]:
    """{device, torch, lightning, devices}: "cpu" or "gpu", versions, and the names of the CUDA devices."""
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    versions = {name: metadata.version(name) for name in ("torch", "lightning")}
    return {"device": "gpu" if devices else "cpu", **versions, "devices": devices}


def load(files: ModelFiles, options: dict[str, Any] | None) -> LightningEngine:
    """Loads the weights of ``files``; ``options``: see ``LightningConfig``."""
    config = LightningConfig.from_json(options)
    return LightningEngine(AdaptedModel(model_loading.load_frozen(files, config)), config, files.context_tokens)


class LightningEngine:
    """See ``engine.Engine``."""

    name = "lightning"

    def __init__(self, model: AdaptedModel, config: LightningConfig, context_tokens: int) -> None:
        self.model, self.config, self._context_tokens = model, config, context_tokens
        self.device = "cpu" if model.device.type == "cpu" else "gpu"
        settings = model.module.config.get_text_config()
        self.layers, self.vocab_size = settings.num_hidden_layers, settings.vocab_size
        self.parameters = model.module.num_parameters()
        self.linears = model.linears
        self.passes = TorchPasses(model)

    def adapt(self, adapter: Adapter) -> None:
        self.model.attach(adapter)

    def plan(self, rows: Sequence[Row]) -> TorchPlan:
        budget = self.config.micro_batch_tokens or _MICRO_BATCH_TOKENS
        share = self.config.prefix_sharing != "never"
        return micro_batches.plan(rows, budget, self.model.window, self.model.device, share)

    def run(
        self, plan: TorchPlan, params: Params | None, slope: Slope | None = None, only: set[int] | None = None
    ) -> PassResult:
        return self.passes.run(plan, params, slope, only)

    def decoder(self) -> Decoder:
        return CachedDecoder(self.model) if self._context_tokens <= self.model.window else LibraryDecoder(self.model)

    @torch.no_grad()
    def reference_logprobs(self, ids: np.ndarray, params: Params | None) -> np.ndarray:
        self.model.use(params)
        line = torch.as_tensor(ids, dtype=torch.long, device=self.model.device)[None]
        positions = torch.arange(len(ids), device=self.model.device)[None]
        logits = self.model.logits(line, positions)[0, :-1].float()
        return torch.log_softmax(logits, -1).gather(-1, line[0, 1:, None])[:, 0].cpu().numpy()
