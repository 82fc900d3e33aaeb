"""The adapter written for others to load, with proof that the files are the policy.

Formats: ``peft`` (see ``checkpoint``) and ``mlx`` (what ``mlx_lm``'s own commands read). Errors: WorkerError
EXPORT_FORMAT_UNKNOWN.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from hone_worker.checkpoint import Arrays, TrainState, load_peft, replace_folder, write_peft
from hone_worker.engine import Engine
from hone_worker.errors import WorkerError
from hone_worker.rows import Row

_PROBE_TOKENS = 48


def export(engine: Engine, state: TrainState, folder: str | pathlib.Path, format: str = "peft") -> dict[str, Any]:
    """Writes the adapter and reads it back: {dir, format, files, proof}.

    proof: how many of the model's maps it changes, by how much at most, and the greatest difference of
    log-probabilities between the model library's forward pass with the adapter read back from the files and
    the passes that trained it.
    """
    writers = {"peft": write_peft, "mlx": lambda state, aside: _write_mlx(state, engine.layers, aside)}
    if format not in writers:
        raise WorkerError(
            "EXPORT_FORMAT_UNKNOWN", f"There is no export format {format!r}.", f"Formats: {', '.join(writers)}."
        )
    target = replace_folder(pathlib.Path(folder), lambda aside: writers[format](state, aside))
    read = load_peft(target, state.adapter, state.model) if format == "peft" else load_file(target / "adapters.safetensors")
    files = [
        {"name": file.name, "bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in sorted(target.iterdir())
    ]
    return {"dir": str(target), "format": format, "files": files, "proof": _proof(engine, state, read)}


def _write_mlx(state: TrainState, layers: int, folder: pathlib.Path) -> None:
    adapter = state.adapter
    keys = sorted({path.split(".layers.", 1)[-1].split(".", 1)[-1] for path in adapter.shapes})
    settings = {
        "fine_tune_type": "lora",
        "model": state.model,
        "num_layers": layers - adapter.first_layer,
        "lora_parameters": {"rank": adapter.config.rank, "scale": adapter.config.scale, "dropout": 0.0, "keys": keys},
    }
    params = {name: np.ascontiguousarray(value) for name, value in adapter.params.items()}
    save_file(params, folder / "adapters.safetensors", metadata={"format": "mlx"})
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2))


def _proof(engine: Engine, state: TrainState, read: Arrays) -> dict[str, float]:
    changed, largest = 0, 0.0
    for path in state.adapter.shapes:
        delta = state.adapter.config.scale * (read[f"{path}.lora_a"] @ read[f"{path}.lora_b"])
        size = float(np.abs(delta).max())
        changed += size > 0
        largest = max(largest, size)
    return {
        "changed_tensors": changed,
        "max_abs_delta": largest,
        "logprob_max_diff": _difference(engine, state, read),
    }


def _difference(engine: Engine, state: TrainState, read: Arrays) -> float:
    ids = np.random.default_rng(0).integers(0, engine.vocab_size or 256, _PROBE_TOKENS).astype(np.int32)
    mask = np.arange(len(ids)) > 0
    row = Row("probe", "probe", 1.0, 1.0, ids, mask, np.full(len(ids), np.nan, np.float32))
    ours = engine.run(engine.plan([row]), state.adapter.params).logp
    return float(np.abs(engine.reference_logprobs(ids, read) - ours).max())
