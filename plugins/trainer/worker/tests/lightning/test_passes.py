"""Passes against transformers' own forward and torch's autograd, and what must not change them."""

import builders
import numpy as np
import pytest
import torch

from hone_worker import lora
from hone_worker.config import LoraConfig
from hone_worker.engine_choice import open_engine
from hone_worker.loading.model_files import open_model
from hone_worker.rows import to_rows

ALL = ["qwen3", "llama", "phi3", "mistral", "gemma2", "granite"]
WITH_TREE = ["qwen3", "llama", "phi3", "granite"]


def opened(folder, **options):
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


def naive(engine, rows, params, slopes=None):
    """logp row by row by the library's forward, and the gradient of Σ slope · logp by its autograd."""
    engine.model.use(params)
    engine.model.module.config._attn_implementation = engine.model._library_attention
    found, total = [], 0.0
    for row in rows:
        ids = torch.tensor(row.ids, dtype=torch.long)[None]
        logs = torch.log_softmax(engine.model.module(input_ids=ids, use_cache=False).logits[0], -1)
        places = torch.as_tensor(np.flatnonzero(row.mask))
        found.append(logs[places - 1, ids[0, places]])
    logp = torch.cat(found)
    if slopes is None:
        return logp.detach().numpy()
    (torch.as_tensor(slopes) * logp).sum().backward()
    grads = engine.model.gradients("default")
    engine.model.forget_gradients("default")
    return logp.detach().numpy(), grads


def close(left, right, tolerance=1e-4):
    assert set(left) == set(right)
    for name, value in right.items():
        assert np.abs(left[name] - value).max() <= tolerance * max(np.abs(value).max(), 1e-3), name


@pytest.mark.parametrize("name", ALL)
def test_logp_and_gradients_are_those_of_the_library(model_folders, rng, name):
    engine, params = opened(model_folders[name])
    rows = to_rows(builders.trajectories(rng))
    plan = engine.plan(rows)
    assert (plan.physical < 0.6 * plan.tree.logical) == (name in WITH_TREE)
    slopes = rng.standard_normal(len(plan.tree.entries)).astype(np.float32)
    found = engine.run(plan, params, lambda index, _: slopes[index])
    logp, grads = naive(engine, rows, params, slopes)
    assert np.abs(found.logp - logp).max() < 1e-5
    assert all(np.abs(value).max() > 0 for value in grads.values())
    close(found.grads, grads)
