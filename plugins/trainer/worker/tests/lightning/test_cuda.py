"""What only a GPU can show: FlexAttention, half precision, 4-bit weights. Run there by bench_trainer/on_gpu.py."""

from __future__ import annotations

import pathlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import write_model

from hone_worker import lora, train
from hone_worker.checkpoint import TrainState
from hone_worker.config import LoraConfig, LossConfig, OptimConfig
from hone_worker.engine_choice import open_engine
from hone_worker.loading.model_files import open_model
from hone_worker.rows import Trajectory, TurnRecord, to_rows

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A Qwen 3 with heads that FlexAttention takes, and room for long rows."""
    place = tmp_path_factory.mktemp("cuda") / "qwen3"
    return write_model(place, "qwen3", head_dim=32, hidden_size=128, max_position_embeddings=8192)


def opened(folder, **options):
    """An engine with an adapter that already does something."""
    engine = open_engine(open_model(str(folder), folder), options=options)
    adapter = lora.create(engine.linears, engine.layers, LoraConfig(rank=4, alpha=8.0), seed=0)
    rng = np.random.default_rng(5)
    for name, value in adapter.params.items():
        if name.endswith("lora_b"):
            adapter.params[name] = (0.05 * rng.standard_normal(value.shape)).astype(np.float32)
    engine.adapt(adapter)
    return engine, adapter


def groups(prompt, sampled, size=4):
    """One group whose rows share ``prompt`` ids and then differ in ``sampled``."""
    rng = np.random.default_rng(prompt)
    common = rng.integers(2, 96, prompt).tolist()
    out = []
    for member in range(size):
        turn = TurnRecord(common, rng.integers(2, 96, sampled).tolist(), [-4.5] * sampled)
        out.append(Trajectory(f"r{member}", "g", 0, float(rng.standard_normal()), 1.0, [turn]))
    return out


def of_step(engine, adapter, trajectories):
    plan = engine.plan(to_rows(trajectories))
    factor = np.random.default_rng(1).standard_normal(len(plan.tree.entries)).astype(np.float32)
    return plan, engine.run(plan, adapter.params, lambda index, _: factor[index])


@pytest.mark.parametrize("prompt", [300, 2000])
def test_logp_and_gradients_of_a_tree_are_those_of_its_rows(folder, prompt):
    engine, adapter = opened(folder, precision="fp32")
    alone, own = opened(folder, precision="fp32", prefix_sharing="never")
    batch = groups(prompt, 70)
    plan, found = of_step(engine, adapter, batch)
    assert plan.physical < 0.5 * plan.tree.logical
    _, expected = of_step(alone, own, batch)
    assert np.abs(found.logp - expected.logp).max() < 1e-4
    for name, value in expected.grads.items():
        assert np.abs(found.grads[name] - value).max() <= 1e-3 * np.abs(value).max(), name
    row = to_rows(batch)[2]
    library = engine.reference_logprobs(row.ids, adapter.params)[prompt - 1 :]
    assert np.abs(found.logp[plan.tree.entries.row == 2] - library).max() < 1e-4


def test_trees_of_other_lengths_are_not_compiled_anew(folder):
    engine, adapter = opened(folder, precision="bf16")
    for prompt in (1500, 1700):
        of_step(engine, adapter, groups(prompt, 60))
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for prompt in (1811, 2050, 3001):
        of_step(engine, adapter, groups(prompt, 45))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled


def test_half_precision_is_the_default_and_stays_near_fp32(folder):
    engine, adapter = opened(folder)
    exact, own = opened(folder, precision="fp32")
    assert next(engine.model.module.parameters()).dtype in (torch.bfloat16, torch.float16)
    batch = groups(2000, 70)
    (_, found), (_, expected) = of_step(engine, adapter, batch), of_step(exact, own, batch)
    assert np.abs(found.logp - expected.logp).mean() < 0.05
    for name, value in expected.grads.items():
        assert np.linalg.norm(found.grads[name] - value) < 0.1 * np.linalg.norm(value), name


def test_a_step_on_4_bit_weights_moves_the_adapter(folder):
    engine, adapter = opened(folder, quantize="4bit")
    state = TrainState("tiny", adapter, train.new_optimizer(engine, OptimConfig(learning_rate=1e-3)))
    before = dict(adapter.params)
    batch = groups(1500, 40)
    known = train.logprobs(engine, state, batch)["rows"]
    batch = [
        replace(t, turns=[replace(t.turns[0], logprobs=row["logprobs"])]) for t, row in zip(batch, known, strict=True)
    ]
    report = train.train_step(engine, state, 1, batch, LossConfig.from_json({"preset": "dapo"}))
    assert np.isfinite(report["loss"]) and report["grad_norm"] > 0
    assert report["mismatch_abs"] < 0.01
    assert all(np.abs(state.adapter.params[name] - value).max() > 0 for name, value in before.items())


def test_checkpointing_changes_memory_and_not_the_gradient(folder):
    peaks, grads = [], []
    for checkpointing in (False, True):
        engine, adapter = opened(folder, precision="fp32", gradient_checkpointing=checkpointing)
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        grads.append(of_step(engine, adapter, groups(4000, 100))[1].grads)
        peaks.append(torch.cuda.max_memory_allocated() - held)
    assert peaks[1] < peaks[0]
    for name, value in grads[0].items():
        assert np.abs(grads[1][name] - value).max() <= 1e-4 * np.abs(value).max(), name

