"""Which engines this environment has, and which one runs a model: the one neutral file that names them.

``cpu_llama`` runs Llama-shaped models where MLX's default device is the CPU, once its logits were checked
against mlx-lm's module; ``mlx`` runs everything else.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from hone_worker.engine import Engine
from hone_worker.errors import WorkerError
from hone_worker.loading.model_files import ModelFiles

CPU_LLAMA, MLX = "cpu_llama", "mlx"


def available() -> dict[str, Any]:
    """{engines, device, mlx, blas}: what could run here, MLX's version, and the BLAS that was loaded for it."""
    from hone_worker.mlx import BLAS_PATH, mlx_engine

    device = mlx_engine.device()
    return {
        "engines": [CPU_LLAMA, MLX] if device == "cpu" else [MLX],
        "device": device,
        "mlx": metadata.version("mlx"),
        "blas": BLAS_PATH,
    }


def open_engine(files: ModelFiles, name: str | None = None, reuse_sampled_states: bool = False) -> Engine:
    """Loads the weights of ``files`` into the engine ``name``, or into the fastest that can run them.

    ``reuse_sampled_states``: passes take what decoders computed below the first adapted layer instead of
    computing it again, where the engine can. Raises WorkerError MODEL_UNSUPPORTED and ENGINE_UNSUITABLE.
    """
    if name not in (None, CPU_LLAMA, MLX):
        raise _unsuitable(name, files, f"Engines: {CPU_LLAMA}, {MLX}.")
    from hone_worker.mlx import mlx_engine

    engine = mlx_engine.load(files)
    if name == MLX or engine.device != "cpu":
        return engine
    from hone_worker.cpu_llama import from_mlx, llama_engine

    weights = from_mlx.take_weights(engine.module, files.config, files.context_tokens)
    if weights is not None and from_mlx.agrees(weights, engine.module):
        return llama_engine.LlamaEngine(weights, engine, reuse_sampled_states)
    if name == CPU_LLAMA:
        raise _unsuitable(name, files, "Leave the engine out, and the one that fits is chosen.")
    return engine


def _unsuitable(name: str | None, files: ModelFiles, hint: str) -> WorkerError:
    return WorkerError("ENGINE_UNSUITABLE", f"The engine {name!r} cannot run {files.id!r} here.", hint)
