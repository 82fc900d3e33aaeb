"""`python -m hone_worker.train` takes the worker's own step: the same numbers, the same checkpoint."""

import json
import os
import subprocess
import sys
from pathlib import Path

import builders
import pytest
from worker_process import CACHE, PACKAGE

GOLDEN = Path(__file__).parent / "golden" / "batch.v1.jsonl"
LORA = {"rank": 3, "alpha": 6, "last_layers": 2}


def program(*words):
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "HONE_CACHE_DIR": CACHE}
    command = [sys.executable, "-m", "hone_worker.train", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def step(*words, batch=GOLDEN):
    done = program(batch, "--rank", 3, "--alpha", 6, "--last-layers", 2, "--seed", 5, "--learning-rate", 0.01, *words)
    assert done.returncode == 0, done.stderr
    return without_time(json.loads(done.stdout))


def without_time(report):
    for name in builders.MEASURED:
        assert report.pop(name) > 0
    return report


@pytest.mark.parametrize("engine", ["cpu_llama", "mlx"])
def test_steps_and_checkpoints_are_those_of_the_worker(start, llama_folder, tmp_path, engine):
    worker = start()
    optimizer = {"learning_rate": 0.01}
    worker.call("init", model=str(llama_folder), cache_dir=CACHE, seed=5, lora=LORA, optimizer=optimizer, engine=engine)
    batch = worker.sampled(GOLDEN, tmp_path / "batch.jsonl")
    first = worker.call("train_step", step=1, batch=str(batch), loss={"preset": "dapo"})
    worker.call("save", dir=str(tmp_path / "worker"))
    more = ("--model", llama_folder, "--engine", engine)
    assert step(*more, "--loss", "dapo", "--out", tmp_path / "program", batch=batch) == without_time(first)
    weights = [(tmp_path / who / "adapter_model.safetensors").read_bytes() for who in ("worker", "program")]
    assert weights[0] == weights[1]
    second = worker.call("train_step", step=2, batch=str(batch), loss={"preset": "gspo"})
    assert second["kl_base"] > 0
    assert step(*more, "--loss", "gspo", "--adapter", tmp_path / "program", batch=batch) == without_time(second)
    supervised = worker.call("supervise", step=1, batch=str(batch))
    worker.call("save", dir=str(tmp_path / "both"))
    again = ["--adapter", tmp_path / "program", "--loss", "gspo", "--out", tmp_path / "second"]
    step(*more, *again, batch=batch)
    more = (*more, "--kind", "supervised", "--adapter", tmp_path / "second")
    assert step(*more, batch=batch) == without_time(supervised)


def test_the_built_in_model_is_the_default(start):
    worker = start()
    worker.call("init", model="smollm2-135m", cache_dir=CACHE, seed=5, lora=LORA, optimizer={"learning_rate": 0.01})
    report = without_time(worker.call("train_step", step=1, batch=str(GOLDEN), loss={"preset": "cispo"}))
    assert report["tokens"] == 12 and report["grad_norm"] > 0
    assert step() == report


def test_a_batch_that_cannot_be_trained_is_refused_in_words(llama_folder, tmp_path):
    done = program(tmp_path / "none.jsonl", "--model", llama_folder)
    assert (done.returncode, done.stdout) == (1, "")
    message = f"BATCH_INVALID: Cannot read the batch {tmp_path}/none.jsonl: No such file or directory."
    assert done.stderr.splitlines()[-1] == f"{message} Give a batch.v1 file."
