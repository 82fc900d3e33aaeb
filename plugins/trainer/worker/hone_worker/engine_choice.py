"""Which engines this environment has, and which one runs a model: the one neutral file that names them.

Each trainer's environment has its own engines. With MLX: ``cpu_llama`` runs Llama-shaped models where MLX's default
device is the CPU, once its logits were checked against mlx-lm's module; ``mlx`` runs everything else. With torch:
``lightning`` runs all.
"""

from __future__ import annotations

from importlib import metadata, util
from typing import Any

from hone_worker.config import LoraConfig
from hone_worker.engine import Engine
from hone_worker.errors import WorkerError
from hone_worker.loading.model_files import ModelFiles

CPU_LLAMA, MLX, LIGHTNING = "cpu_llama", "mlx", "lightning"


def available() -> dict[str, Any]:
    """{engines, device}: what could run here. With MLX also {mlx, blas}: its version, and the BLAS that was loaded for
    it; with torch {torch, lightning, devices}: versions, and the devices that torch may use."""
    if util.find_spec("mlx") is None:
        from hone_worker.lightning import lightning_engine

        return {"engines": [LIGHTNING], **lightning_engine.available()}
    from hone_worker.mlx import BLAS_PATH, mlx_engine

    device = mlx_engine.device()
    return {
        "engines": [CPU_LLAMA, MLX] if device == "cpu" else [MLX],
        "device": device,
        "mlx": metadata.version("mlx"),
        "blas": BLAS_PATH,
    }


def open_engine(
    files: ModelFiles,
    name: str | None = None,
    reuse_sampled_states: bool = False,
    options: dict[str, Any] | None = None,
    lora: LoraConfig | None = None,
) -> Engine:
    """Loads the weights of ``files`` into the engine ``name``, or into the fastest that can run them.

    ``reuse_sampled_states``: passes take what decoders computed below the first adapted layer instead of
    computing it again, where the engine can. ``options``: the engine's own; ``lora``: the adapter to
    come, for an engine that checks beforehand whether memory suffices. Raises WorkerError MODEL_UNSUPPORTED,
    ENGINE_UNSUITABLE, OUT_OF_MEMORY, and CONFIG_INVALID for unknown options.
    """
    known = [LIGHTNING] if util.find_spec("mlx") is None else [CPU_LLAMA, MLX]
    if name is not None and name not in known:
        raise _unsuitable(name, files, f"Engines of this environment: {', '.join(known)}.")
    if known == [LIGHTNING]:
        from hone_worker.lightning import lightning_engine

        return lightning_engine.load(files, options, lora)
    if options:
        raise WorkerError("CONFIG_INVALID", f"The engine has no option {sorted(options)[0]!r}.", "Leave it out.")
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
