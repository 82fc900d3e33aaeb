"""Updates by Lightning's Trainer against the step that other engines share, and what they promise."""

import dataclasses
import json
import os
import subprocess
import sys

import builders
import numpy as np
import pytest
import torch
from worker_process import PACKAGE

from hone_worker.config import PRESETS, LossConfig
from hone_worker.errors import WorkerError
from hone_worker.optimizer import AdamW

# Rows of the batch go into several micro-batches.
SPLIT = {"micro_batch_tokens": 150}


class OnlyPasses:
    """The engine without its updates: a step then takes its gradients, and AdamW of NumPy."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        if name in ("update", "new_optimizer"):
            raise AttributeError(name)
        return getattr(self._engine, name)


def both(folder, **optim):
    """Training as it is, and with nothing of Lightning but the passes."""
    lightning = builders.training(folder, options=SPLIT, **optim)
    plain = builders.training(folder, options=SPLIT, **optim)
    plain.engine = OnlyPasses(plain.engine)
    plain.state.optimizer = AdamW(plain.state.optimizer.config)
    return lightning, plain


def equal(left, right, tolerance):
    """Arrays by name, apart by no more than so much of the largest."""
    assert set(left) == set(right)
    for name, value in right.items():
        assert np.abs(left[name] - value).max() <= tolerance * np.abs(value).max(), name


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_updates_equal_the_shared_step_for_every_preset(qwen_folder, rng, preset):
    lightning, plain = both(qwen_folder, weight_decay=0.1, warmup_steps=2, grad_clip=0.3)
    batch = lightning.sampled(builders.trajectories(rng))
    beta = {} if preset == "ce" else {"beta": 0.1}
    config = LossConfig.from_json({"preset": preset, "constant": 20, **beta})
    for step in range(1, 4):
        reports = [training.train_step(step, batch, config) for training in (lightning, plain)]
    assert set(reports[0]) == set(reports[1])
    for name in set(reports[1]) - set(builders.MEASURED):
        assert np.isclose(reports[0][name], reports[1][name], rtol=2e-6, atol=1e-7), name
    equal(lightning.params, plain.params, 2e-6)
    equal(lightning.state.optimizer.first, plain.state.optimizer.first, 5e-6)
    equal(lightning.state.optimizer.second, plain.state.optimizer.second, 5e-6)


def test_supervised_updates_equal_the_shared_step(llama_folder, rng):
    batch = builders.trajectories(rng)
    lightning, plain = both(llama_folder)
    for step in range(1, 4):
        reports = [training.supervise(step, batch) for training in (lightning, plain)]
    assert np.isclose(reports[0]["loss"], reports[1]["loss"], rtol=1e-6)
    equal(lightning.params, plain.params, 2e-6)


def test_refused_updates_change_nothing_and_the_next_one_goes_on(llama_folder, rng):
    training = builders.training(llama_folder, options=SPLIT)
    batch = training.sampled(builders.trajectories(rng), noise=0.05)
    config = LossConfig.from_json({"preset": "grpo"})
    training.train_step(1, batch, config)
    params, optimizer = training.params, training.state.optimizer
    moments = {name: value.tobytes() for name, value in {**optimizer.first, **optimizer.second}.items()}
    with pytest.raises(WorkerError) as caught:
        training.train_step(2, builders.trajectories(rng), config)
    assert caught.value.code == "OFF_POLICY"
    broken = {**params, sorted(params)[0]: params[sorted(params)[0]] * np.float32(np.nan)}
    training.params = broken
    with pytest.raises(WorkerError) as caught:
        training.supervise(1, batch)
    assert caught.value.to_json() == {
        "code": "STEP_DIVERGED",
        "message": "The gradient's norm is nan; the adapter was not changed.",
        "hint": "Lower the learning rate, or resume from the last checkpoint.",
    }
    assert training.params is broken
    training.params = params
    assert optimizer.updates == 1
    assert moments == {name: value.tobytes() for name, value in {**optimizer.first, **optimizer.second}.items()}
    # What would have been the second step without the refusals.
    other = builders.training(llama_folder, options=SPLIT)
    other.train_step(1, batch, config)
    for one in (training, other):
        one.train_step(2, batch, config)
    assert {k: v.tobytes() for k, v in training.params.items()} == {k: v.tobytes() for k, v in other.params.items()}


def test_an_update_that_fails_leaves_a_training_that_goes_on(llama_folder, rng, monkeypatch):
    from hone_worker.lightning.passes import TorchPasses

    training, other = (builders.training(llama_folder, options=SPLIT) for _ in range(2))
    batch = training.sampled(builders.trajectories(rng), noise=0.05)
    config = LossConfig.from_json({"preset": "grpo"})
    for one in (training, other):
        one.train_step(1, batch, config)
    scored, calls = TorchPasses.scored, []

    def out_of_memory(self, micro, slope):
        calls.append(micro)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return scored(self, micro, slope)

    monkeypatch.setattr(TorchPasses, "scored", out_of_memory)
    with pytest.raises(WorkerError) as caught:
        training.supervise(1, batch)
    assert caught.value.to_json() == {
        "code": "OUT_OF_MEMORY",
        "message": "The step needs more memory than there is; the adapter was not changed. "
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "hint": "Rows of about 4096 tokens would fit: set context_tokens to that, lower micro_batch_tokens, set "
        "gradient_checkpointing to true, lower lora.rank.",
    }
    monkeypatch.undo()
    for one in (training, other):
        one.train_step(2, batch, config)
    assert {k: v.tobytes() for k, v in training.params.items()} == {k: v.tobytes() for k, v in other.params.items()}


def test_how_rows_are_split_into_micro_batches_changes_nothing_but_last_bits(qwen_folder):
    reports, params = [], []
    for tokens in (100, 150, 100_000):
        training = builders.training(qwen_folder, options={"micro_batch_tokens": tokens})
        batch = training.sampled(builders.trajectories(np.random.default_rng(3)), noise=0.05)
        reports.append(training.train_step(1, batch, LossConfig.from_json({"preset": "gspo"})))
        params.append(training.params)
    for report, moved in zip(reports[1:], params[1:], strict=True):
        assert np.isclose(report["loss"], reports[0]["loss"], rtol=1e-6)
        assert np.isclose(report["grad_norm"], reports[0]["grad_norm"], rtol=1e-5)
        equal(moved, params[0], 1e-5)


def test_a_fresh_optimiser_forgets_and_the_old_one_keeps_what_it_had(llama_folder, rng):
    training = builders.training(llama_folder)
    batch = training.sampled(builders.trajectories(rng), noise=0.05)
    training.supervise(1, batch)
    old = training.state.optimizer
    before = {name: value.tobytes() for name, value in old.first.items()}
    training.train_step(1, batch, LossConfig())
    assert training.state.optimizer is not old
    assert (old.updates, training.state.optimizer.updates) == (1, 1)
    assert before == {name: value.tobytes() for name, value in old.first.items()}
    assert before != {name: value.tobytes() for name, value in training.state.optimizer.first.items()}


def test_engine_uploads_parameters_that_somebody_else_replaced(llama_folder, rng):
    training = builders.training(llama_folder)
    batch = training.sampled(builders.trajectories(rng), noise=0.05)
    first = training.params
    training.train_step(1, batch, LossConfig())
    training.params = first
    again = training.train_step(2, batch, LossConfig())
    assert again["loss"] == training.state.results["train_step:1"]["loss"]


def test_a_resumed_worker_makes_the_same_bits(qwen_folder, start, tmp_path, rng):
    batch = builders.trajectories(rng)
    unknown = [dataclasses.replace(t, turns=[dataclasses.replace(u, logprobs=None) for u in t.turns]) for t in batch]
    path = builders.write_batch(tmp_path / "batch.jsonl", unknown)

    def opened(**more):
        worker = start()
        lora = {"rank": 3, "alpha": 6, "dropout": 0.2}
        made = worker.call("init", model=str(qwen_folder), cache_dir=str(tmp_path), lora=lora,
                           optimizer={"learning_rate": 1e-2, "warmup_steps": 3}, engine_options=SPLIT, **more)
        assert made["model"]["engine"] == "lightning", made
        return worker

    def stepped(worker, *steps):
        for step in steps:
            assert worker.call("train_step", step=step, batch=path, loss={"preset": "grpo"})["grad_norm"] > 0

    whole, half = opened(), opened()
    stepped(whole, 1, 2, 3, 4)
    whole.call("save", dir=str(tmp_path / "whole"))
    stepped(half, 1, 2)
    half.call("save", dir=str(tmp_path / "half"))
    half.end()
    resumed = opened(resume_dir=str(tmp_path / "half"))
    stepped(resumed, 3, 4)
    resumed.call("save", dir=str(tmp_path / "resumed"))
    for name in ("adapter_model.safetensors", "optimizer.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes(), name
    # Lightning wrote nothing of its own.
    left = {entry.name for entry in tmp_path.iterdir()} - {"whole", "half", "resumed", "batch.jsonl", "worker.log"}
    assert left == set()


def test_train_program_prints_its_report_and_nothing_else(llama_folder, tmp_path, rng):
    batch = builders.write_batch(tmp_path / "batch.jsonl", builders.trajectories(rng))
    done = subprocess.run(
        [sys.executable, "-m", "hone_worker.train", batch, "--model", str(llama_folder), "--kind", "supervised"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(PACKAGE)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["loss"] > 0
