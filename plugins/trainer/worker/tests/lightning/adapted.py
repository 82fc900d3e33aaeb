"""Engines with adapters, and the plain way to what their passes compute."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import torch

from hone_worker import lora
from hone_worker.config import LoraConfig
from hone_worker.engine_choice import open_engine
from hone_worker.lightning.lightning_engine import LightningEngine
from hone_worker.loading.model_files import open_model
from hone_worker.rows import Row

Arrays = dict[str, np.ndarray]


def opened(folder: pathlib.Path, **options: Any) -> tuple[LightningEngine, Arrays]:
    """An engine with an adapter on its last three layers that already does something."""
    engine = open_engine(open_model(str(folder), folder), options=options)
    adapter = lora.create(engine.linears, engine.layers, LoraConfig(rank=3, alpha=6, last_layers=3), seed=0)
    rng = np.random.default_rng(5)
    adapter.params = {
        name: value + 0.1 * rng.standard_normal(value.shape).astype(np.float32) if name.endswith("b") else value
        for name, value in adapter.params.items()
    }
    engine.adapt(adapter)
    return engine, adapter.params


def naive(engine: LightningEngine, rows: list[Row], params: Arrays | None, slopes: np.ndarray) -> tuple[Any, Arrays]:
    """logp row by row from whole logits of the library's own forward, and by autograd the gradient of Σ slope · logp."""
    engine.model.use(params)
    engine.model.module.config._attn_implementation = engine.model._library_attention
    found = []
    for row in rows:
        ids = torch.tensor(row.ids, dtype=torch.long)[None]
        logs = torch.log_softmax(engine.model.module(input_ids=ids, use_cache=False).logits[0], -1)
        places = torch.as_tensor(np.flatnonzero(row.mask))
        found.append(logs[places - 1, ids[0, places]])
    logp = torch.cat(found)
    (torch.as_tensor(slopes) * logp).sum().backward()
    grads = engine.model.gradients("default")
    engine.model.forget_gradients("default")
    return logp.detach().numpy(), grads


def close(left: Arrays, right: Arrays, tolerance: float = 1e-4) -> None:
    """Asserts that gradients agree, relative to the largest of each parameter."""
    assert set(left) == set(right)
    for name, value in right.items():
        assert np.abs(left[name] - value).max() <= tolerance * max(np.abs(value).max(), 1e-3), name
