"""Adapters and checkpoints on disk.

The canonical form is PEFT's (``adapter_model.safetensors``, ``adapter_config.json``), which vLLM,
llama.cpp and transformers read: lora_A is (r, in), lora_B (out, r), the transposes of ours. A
checkpoint adds the optimiser and the results of past steps, so that a resumed run goes on with
the same bits. Folders are written aside, synced and renamed: a reader sees all of it or nothing.

Errors: WorkerError ADAPTER_INVALID (files missing, damaged, or of another shape),
EXPORT_FORMAT_UNKNOWN.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hone_worker.errors import WorkerError
from hone_worker.mlx import lora
from hone_worker.mlx.lora import Lora
from hone_worker.mlx.train import Trainer
from hone_worker.trajectory import Row

_PREFIX = "base_model.model."
_SUFFIX = {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight"}
_STATE_VERSION = 1
_PROBE_TOKENS = 48

Arrays = dict[str, np.ndarray]


def to_peft(params: Mapping[str, np.ndarray]) -> Arrays:
    """PEFT's names and orientation."""
    out = {}
    for name, value in params.items():
        path, _, kind = name.rpartition(".")
        out[f"{_PREFIX}{path}.{_SUFFIX[kind]}"] = np.ascontiguousarray(value.T)
    return out


def from_peft(tensors: Mapping[str, np.ndarray]) -> Arrays:
    """The inverse of ``to_peft``."""
    kinds = {peft: ours for ours, peft in _SUFFIX.items()}
    out = {}
    for name, value in tensors.items():
        path, kind = name.removeprefix(_PREFIX).rsplit(".lora_", 1)
        out[f"{path}.{kinds['lora_' + kind]}"] = np.ascontiguousarray(value.T)
    return out


def load_peft(folder: str | pathlib.Path, adapter: Lora) -> Arrays:
    """Reads a PEFT adapter that has exactly the shape of ``adapter``."""
    path = pathlib.Path(folder) / "adapter_model.safetensors"
    try:
        params = from_peft(load_file(path))
        settings = json.loads((path.parent / "adapter_config.json").read_text())
        scale = settings["lora_alpha"] / settings["r"]
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise _invalid(path.parent, f"{type(error).__name__}: {error}") from error
    expected = {name: value.shape for name, value in adapter.params.items()}
    found = {name: value.shape for name, value in params.items()}
    if found != expected:
        differing = sorted(set(found.items()) ^ set(expected.items()))[0][0]
        raise _invalid(path.parent, f"{differing} has not the shape that this run trains")
    if scale != adapter.config.scale:
        raise _invalid(path.parent, f"its scale is {scale}, that of this run {adapter.config.scale}")
    return params


def save(trainer: Trainer, folder: str | pathlib.Path) -> dict[str, Any]:
    """Writes a checkpoint: {dir, bytes}."""
    optimizer = trainer.optimizer
    moments = {f"first.{name}": value for name, value in optimizer.first.items()}
    moments |= {f"second.{name}": value for name, value in optimizer.second.items()}
    state = {
        "version": _STATE_VERSION,
        "model": trainer.model.id,
        "step": trainer.step,
        "updates": optimizer.updates,
        "rng": {"seed": trainer.seed},
        "results": trainer.results,
    }

    def write(aside: pathlib.Path) -> None:
        _write_peft(trainer, aside)
        save_file(moments, aside / "optimizer.safetensors")
        (aside / "state.json").write_text(json.dumps(state))

    target = _replace(pathlib.Path(folder), write)
    return {"dir": str(target), "bytes": sum(file.stat().st_size for file in target.iterdir())}


def resume(trainer: Trainer, folder: str | pathlib.Path) -> None:
    """Puts the adapter, the optimiser and the past results of a checkpoint into ``trainer``."""
    source = pathlib.Path(folder)
    params = load_peft(source, trainer.adapter)
    try:
        moments = load_file(source / "optimizer.safetensors")
        state = json.loads((source / "state.json").read_text())
        if state["version"] != _STATE_VERSION:
            raise _invalid(source, f"its state has version {state['version']}, not {_STATE_VERSION}")
        updates, step, results = int(state["updates"]), int(state["step"]), dict(state["results"])
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise _invalid(source, f"{type(error).__name__}: {error}") from error
    trainer.adapter.params = params
    trainer.optimizer.first = _named(moments, "first.")
    trainer.optimizer.second = _named(moments, "second.")
    trainer.optimizer.updates, trainer.step, trainer.results = updates, step, results


def export(trainer: Trainer, folder: str | pathlib.Path, format: str = "peft") -> dict[str, Any]:
    """Writes the adapter for others to load, and proves it: {dir, format, files, proof}.

    proof: how many of the model's maps it changes, by how much at most, and the greatest
    difference of log-probabilities between mlx-lm's module with the adapter read back from the
    files and the trainer's own layers.
    """
    writers = {"peft": _write_peft, "mlx": _write_mlx}
    if format not in writers:
        raise WorkerError(
            "EXPORT_FORMAT_UNKNOWN", f"There is no export format {format!r}.", f"Formats: {', '.join(writers)}."
        )
    target = _replace(pathlib.Path(folder), lambda aside: writers[format](trainer, aside))
    if format == "peft":
        read = load_peft(target, trainer.adapter)
    else:
        read = load_file(target / "adapters.safetensors")
    files = [
        {"name": file.name, "bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in sorted(target.iterdir())
    ]
    return {"dir": str(target), "format": format, "files": files, "proof": _proof(trainer, read)}


def _write_peft(trainer: Trainer, folder: pathlib.Path) -> None:
    adapter = trainer.adapter
    names = sorted({path.rsplit(".", 1)[-1] for path in adapter.shapes})
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": trainer.model.id,
        "r": adapter.config.rank,
        "lora_alpha": adapter.config.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": names,
        "layers_to_transform": _layers(adapter),
        "layers_pattern": "layers",
    }
    save_file(to_peft(adapter.params), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2))


def _write_mlx(trainer: Trainer, folder: pathlib.Path) -> None:
    adapter = trainer.adapter
    keys = sorted({path.split(".layers.", 1)[-1].split(".", 1)[-1] for path in adapter.shapes})
    settings = {
        "fine_tune_type": "lora",
        "model": trainer.model.id,
        "num_layers": len(trainer.model.module.layers) - adapter.first_layer,
        "lora_parameters": {"rank": adapter.config.rank, "scale": adapter.config.scale, "dropout": 0.0, "keys": keys},
    }
    params = {name: np.ascontiguousarray(value) for name, value in adapter.params.items()}
    save_file(params, folder / "adapters.safetensors", metadata={"format": "mlx"})
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2))


def _layers(adapter: Lora) -> list[int]:
    return sorted({int(path.split("layers.", 1)[1].split(".", 1)[0]) for path in adapter.shapes})


def _proof(trainer: Trainer, read: Arrays) -> dict[str, float]:
    changed, largest = 0, 0.0
    for path in trainer.adapter.shapes:
        delta = trainer.adapter.config.scale * (read[f"{path}.lora_a"] @ read[f"{path}.lora_b"])
        size = float(np.abs(delta).max())
        changed += size > 0
        largest = max(largest, size)
    return {
        "changed_tensors": changed,
        "max_abs_delta": largest,
        "logprob_max_diff": _difference(trainer, read),
    }


def _difference(trainer: Trainer, read: Arrays) -> float:
    module, adapter = trainer.model.module, trainer.adapter
    size = int(trainer.model.config.get("vocab_size", 256))
    ids = np.random.default_rng(0).integers(0, size, _PROBE_TOKENS).astype(np.int32)
    mask = np.arange(len(ids)) > 0
    row = Row("probe", "probe", 1.0, 1.0, ids, mask, np.full(len(ids), np.nan, np.float32))
    ours = trainer.engine.run(trainer.engine.plan([row]), adapter.params).logp
    lora.use(module, read)
    logits = module(mx.array(ids[None]))[0, :-1].astype(mx.float32)
    theirs = mx.take_along_axis(logits, mx.array(ids[1:, None]), axis=-1)[:, 0] - mx.logsumexp(logits, axis=-1)
    difference = float(np.abs(np.array(theirs) - ours).max())
    lora.use(module, adapter.params)
    return difference


def _replace(target: pathlib.Path, write: Any) -> pathlib.Path:
    target = target.expanduser().absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write(aside)
        for file in aside.iterdir():
            _sync(file)
        _sync(aside)
        if target.exists():
            # A folder cannot be renamed over a full one: the old one steps aside first.
            old = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
            target.rename(old / target.name)
            aside.rename(target)
            shutil.rmtree(old)
        else:
            aside.rename(target)
        target.chmod(0o755)
        _sync(target.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _sync(path: pathlib.Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _named(tensors: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _invalid(folder: pathlib.Path, problem: str) -> WorkerError:
    return WorkerError(
        "ADAPTER_INVALID",
        f"Cannot load the adapter in {folder}: {problem}.",
        "Give a folder that this run's settings (model, lora) saved.",
    )
