"""Shared parts: tiny random models of real architectures, made once a session.

This folder's tests run in MLX's environment, those of ``lightning/`` in torch's: each leaves the other's out.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from builders import SHAPE, write_tokenizer
from worker_process import Process

WITH_MLX = importlib.util.find_spec("mlx") is not None
if WITH_MLX:
    import hone_worker.mlx  # noqa: F401  loads the BLAS before mlx.core
collect_ignore_glob = ["lightning", "real_vllm"] if WITH_MLX else ["test_*.py"]


def write_model(folder: pathlib.Path, model_type: str, **changes: object) -> pathlib.Path:
    """Saves a random model of ``model_type`` as transformers 5 would write it."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    config = {"model_type": model_type, **SHAPE, **changes}
    architecture = importlib.import_module(f"mlx_lm.models.{model_type}")
    args = architecture.ModelArgs.from_dict({**config, "rope_theta": 5000.0})
    mx.random.seed(7)
    module = architecture.Model(args)
    weights = {name: mx.random.normal(value.shape) * 0.15 for name, value in tree_flatten(module.parameters())}
    weights.update({name: 1 + 0.1 * value for name, value in weights.items() if "norm" in name})
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    (folder / "config.json").write_text(json.dumps(config))
    return write_tokenizer(folder)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_model(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_model(tmp_path_factory.mktemp("qwen3"), "qwen3")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Any]:
    """Starts workers that end with the test."""
    begun: list[Process] = []

    def begin() -> Process:
        begun.append(Process(tmp_path))
        return begun[-1]

    yield begin
    for process in begun:
        process.end()
