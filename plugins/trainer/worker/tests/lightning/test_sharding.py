"""FSDP2 on two ranks over gloo: what needs the whole model goes through both, and no rank waits for another."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

import builders


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_train_and_prove_what_they_export(
    start: Any, qwen_folder: pathlib.Path, tmp_path: pathlib.Path, rng: np.random.Generator, strategy: str
) -> None:
    worker = start()
    options = {"devices": 2, "strategy": strategy}
    made = worker.call("init", model=str(qwen_folder), cache_dir=str(tmp_path), lora={"rank": 3}, engine_options=options)
    assert "model" in made, made
    batch = builders.write_batch(tmp_path / "made.jsonl", builders.trajectories(rng))
    batch = str(worker.sampled(pathlib.Path(batch), tmp_path / "batch.jsonl"))
    for step in (1, 2):
        done = worker.call("train_step", step=step, batch=batch, loss={"preset": "grpo"}, learning_rate=0.005)
        assert done.get("grad_norm", 0) > 0, done
        if step == 1:
            worker.call("save", dir=str(tmp_path / "one"))
    # The newest adapter, then that of an earlier step.
    for more in ({}, {"source": str(tmp_path / "one")}):
        proof = worker.call("export", dir=str(tmp_path / "out"), **more)["proof"]
        assert proof["logprob_max_diff"] < 1e-4 and proof["changed_tensors"] > 0
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["r"] == 3
    assert worker.call("shutdown") == {}
