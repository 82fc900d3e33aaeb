"""What training has come to, in memory (``TrainState``) and on disk.

The canonical form of an adapter is PEFT's (``adapter_model.safetensors``, ``adapter_config.json``), which
vLLM, llama.cpp and transformers read: lora_A is (r, in), lora_B (out, r), the transposes of ours. A
checkpoint adds the optimiser and the results of past steps, so that a resumed run goes on with the same
bits. Folders are written aside, synced and renamed: a reader sees all of it or nothing.

Errors: WorkerError ADAPTER_INVALID (files missing, damaged, of another shape or of another model), NO_SPACE.
"""

from __future__ import annotations

import errno
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hone_worker.errors import WorkerError
from hone_worker.loading.hub import HUB_ID
from hone_worker.lora import Adapter, layer_of
from hone_worker.optimizer import Optimizer

_PREFIX = "base_model.model."
_SUFFIX = {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight"}
_STATE_VERSION = 1

Arrays = dict[str, np.ndarray]


@dataclass
class TrainState:
    """Everything that training changes. model: the frozen model's name on the hub, or its id; step: number
    of the last policy step, 0 before the first; results: what past steps answered, by "train_step:3" and "supervise:1";
    fresh_optimizer: whether the first policy step begins with a new optimiser instead of continuing with
    that of the supervised steps. A checkpoint holds the optimiser that took its last step."""

    model: str
    adapter: Adapter
    optimizer: Optimizer
    seed: int = 0
    step: int = 0
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    fresh_optimizer: bool = True


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


def write_peft(state: TrainState, folder: pathlib.Path) -> None:
    """Writes the adapter's two files into ``folder``."""
    adapter = state.adapter
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": state.model,
        "r": adapter.config.rank,
        "lora_alpha": adapter.config.alpha,
        "lora_dropout": adapter.config.dropout,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted({path.rsplit(".", 1)[-1] for path in adapter.shapes}),
        "layers_to_transform": sorted({layer_of(path) for path in adapter.shapes}),
        "layers_pattern": "layers",
    }
    save_file(to_peft(adapter.params), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2))


def load_peft(folder: str | pathlib.Path, adapter: Adapter, model: str) -> Arrays:
    """Reads a PEFT adapter that has exactly the shape of ``adapter``; model: as in ``TrainState``."""
    path = pathlib.Path(folder) / "adapter_model.safetensors"
    try:
        params = from_peft(load_file(path))
        settings = json.loads((path.parent / "adapter_config.json").read_text())
        scale = settings["lora_alpha"] / settings["r"]
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise _invalid(path.parent, f"{type(error).__name__}: {error}") from error
    base = settings.get("base_model_name_or_path")
    # Folders move; names on the hub do not.
    if _on_hub(base) and _on_hub(model) and base.lower() != model.lower():
        raise _invalid(path.parent, f"it belongs to the model {base!r}, and this run trains {model!r}")
    expected = {name: value.shape for name, value in adapter.params.items()}
    found = {name: value.shape for name, value in params.items()}
    if found != expected:
        differing = sorted(set(found.items()) ^ set(expected.items()))[0][0]
        raise _invalid(path.parent, f"{differing} has not the shape that this run trains")
    if scale != adapter.config.scale:
        raise _invalid(path.parent, f"its scale is {scale}, that of this run {adapter.config.scale}")
    return params


def save(state: TrainState, folder: str | pathlib.Path) -> dict[str, Any]:
    """Writes a checkpoint: {dir, bytes}."""
    optimizer = state.optimizer
    moments = {f"first.{name}": value for name, value in optimizer.first.items()}
    moments |= {f"second.{name}": value for name, value in optimizer.second.items()}
    rest = {
        "version": _STATE_VERSION,
        "model": state.model,
        "step": state.step,
        "updates": optimizer.updates,
        "rng": {"seed": state.seed},
        "results": state.results,
    }

    def write(aside: pathlib.Path) -> None:
        write_peft(state, aside)
        save_file(moments, aside / "optimizer.safetensors")
        (aside / "state.json").write_text(json.dumps(rest))

    target = replace_folder(pathlib.Path(folder), write)
    return {"dir": str(target), "bytes": sum(file.stat().st_size for file in target.iterdir())}


def resume(state: TrainState, folder: str | pathlib.Path) -> None:
    """Puts the adapter, the optimiser and the past results of a checkpoint into ``state``."""
    source = pathlib.Path(folder)
    params = load_peft(source, state.adapter, state.model)
    try:
        moments = load_file(source / "optimizer.safetensors")
        rest = json.loads((source / "state.json").read_text())
        if rest["version"] != _STATE_VERSION:
            raise _invalid(source, f"its state has version {rest['version']}, not {_STATE_VERSION}")
        updates, step, results = int(rest["updates"]), int(rest["step"]), dict(rest["results"])
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise _invalid(source, f"{type(error).__name__}: {error}") from error
    state.adapter.params = params
    state.optimizer.first = _named(moments, "first.")
    state.optimizer.second = _named(moments, "second.")
    state.optimizer.updates, state.step, state.results = updates, step, results


def replace_folder(target: pathlib.Path, write: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Makes ``target`` what ``write`` puts into the folder that it is given, whole or not at all."""
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
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) not in (errno.ENOSPC, errno.EDQUOT) and "No space left" not in str(error):
            raise
        raise WorkerError(
            "NO_SPACE",
            f"Cannot write {target}: no space left on the disk.",
            "Free disk space; `hone resume` continues the run from its last checkpoint.",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _on_hub(model: object) -> bool:
    return isinstance(model, str) and HUB_ID.match(model) is not None and not pathlib.Path(model).exists()


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
