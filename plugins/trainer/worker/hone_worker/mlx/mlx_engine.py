"""The engine over mlx-lm: loads a module, trains it by autograd and samples from it.

Run on Linux CPUs only, so far; nothing of it is particular to a CPU but the change to fp32 in ``load``.
Errors: WorkerError MODEL_UNSUPPORTED for an architecture that mlx-lm does not know.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from hone_worker.engine import PassResult, Slope
from hone_worker.errors import WorkerError
from hone_worker.loading.model_files import ModelFiles
from hone_worker.lora import Adapter, Params, layer_of
from hone_worker.mlx import autograd
from hone_worker.mlx.lora_linear import AdaptedModule
from hone_worker.mlx.module_decoder import ModuleDecoder
from hone_worker.rows import Row


def device() -> str:
    """Where MLX computes: "cpu" or "gpu"."""
    return "cpu" if mx.default_device() == mx.Device(mx.cpu) else "gpu"


def load(files: ModelFiles) -> MlxEngine:
    """Loads the weights of ``files`` into the module that mlx-lm has for the architecture."""
    module = _from_weights(files) if files.weights else _from_folder(files)
    return MlxEngine(module, files.config.get("vocab_size"))


def _from_weights(files: ModelFiles) -> nn.Module:
    from mlx_lm.models import llama

    assert files.weights is not None
    module = llama.Model(llama.ModelArgs.from_dict(files.config))
    module.load_weights([(name, mx.array(value)) for name, value in files.weights()])
    module.eval()
    mx.eval(module.parameters())
    return module


def _from_folder(files: ModelFiles) -> nn.Module:
    from mlx_lm import utils

    # mlx-lm looks for the rotary base and its scaling at the top level only, and takes 10000 and none in silence.
    rotary = {key: files.config[key] for key in ("rope_theta", "rope_scaling") if key in files.config}
    try:
        module, config = utils.load_model(files.path, model_config=rotary)
    except ValueError as error:
        raise WorkerError(
            "MODEL_UNSUPPORTED",
            f"Cannot load {files.id!r}: {error}",
            "Choose an architecture that mlx-lm knows.",
        ) from error
    if device() == "cpu" and "quantization" not in config:
        # Half precision is emulated, hence slow, on a CPU.
        module.set_dtype(mx.float32)
    return module


class MlxEngine:
    """See ``engine.Engine``. Rows are padded, not shared."""

    name = "mlx"

    def __init__(self, module: nn.Module, vocab_size: int | None) -> None:
        self.module, self.vocab_size = module, vocab_size
        self.device, self.layers, self.parameters = device(), len(module.layers), _count(module)
        self._adapted = AdaptedModule(module)
        self.linears = {path: shape for path, shape in self._adapted.linears().items() if layer_of(path) >= 0}

    @functools.cached_property
    def _passes(self) -> autograd.PaddedPasses:
        return autograd.PaddedPasses(self._adapted)

    def adapt(self, adapter: Adapter) -> None:
        self._adapted.attach(adapter)

    def plan(self, rows: Sequence[Row]) -> autograd.PaddedPlan:
        return autograd.plan(rows)

    def run(
        self,
        plan: autograd.PaddedPlan,
        params: Params | None,
        slope: Slope | None = None,
        only: set[int] | None = None,
    ) -> PassResult:
        return self._passes.run(plan, params, slope, only)

    def decoder(self) -> ModuleDecoder:
        return ModuleDecoder(self._adapted)

    def reference_logprobs(self, ids: np.ndarray, params: Params | None) -> np.ndarray:
        self._adapted.use(params)
        logits = self.module(mx.array(ids[None]))[0, :-1].astype(mx.float32)
        targets = mx.array(ids[1:, None])
        return np.array(mx.take_along_axis(logits, targets, axis=-1)[:, 0] - mx.logsumexp(logits, axis=-1))


def _count(module: nn.Module) -> int:
    size = 0
    for name, value in tree_flatten(module.parameters()):
        packed = value.dtype == mx.uint32
        scale = name.endswith((".scales", ".biases"))
        size += 0 if scale else value.size * (8 if packed else 1)
    return size
