"""The same batch on MLX's engines, each in its own process and environment, and on torch: passes, step, adapter."""

import json
import os
import pathlib
import subprocess
import sys

import builders
import mlx_pass
import numpy as np
import pytest
from adapted import close
from safetensors.numpy import load_file

from hone_worker import checkpoint

PACKAGE = pathlib.Path(__file__).parents[2]
MLX_PYTHON = os.environ.get("HONE_MLX_PYTHON")
RATE = 0.01

pytestmark = pytest.mark.skipif(not MLX_PYTHON, reason="HONE_MLX_PYTHON does not name the Python of MLX's environment")


def program(python, *words):
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
    done = subprocess.run([python, *map(str, words)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def step(python, batch, folder, loss, out, *more):
    words = ["-m", "hone_worker.train", batch, "--model", folder, "--loss", loss, "--learning-rate", RATE, "--out", out]
    return json.loads(program(python, *words, "--rank", 3, "--alpha", 6, "--last-layers", 2, *more))


def near(left, right):
    """Figures of two reports."""
    for name in ("tokens", "rows", "forks", "logical_tokens", "learning_rate"):
        assert left[name] == right[name], name
    for name in ("loss", "grad_norm", "entropy", "mismatch_abs", "kl_base", "clip_fraction", "ratio_mean"):
        assert np.isclose(left[name], right[name], rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize(("name", "engine"), [("qwen3", "mlx"), ("phi3", "mlx"), ("llama", "mlx"), ("llama-2", "cpu_llama")])
def test_passes_steps_and_adapters_agree(model_folders, rng, tmp_path, name, engine):
    folder, start = model_folders[name], tmp_path / "start"
    training = builders.training(folder)
    batch = builders.write_batch(tmp_path / "batch.jsonl", training.sampled(builders.trajectories(rng)))
    checkpoint.save(training.state, start)
    runs = {"torch": (sys.executable, "lightning"), "mlx": (MLX_PYTHON, engine)}
    reports = {
        who: step(python, batch, folder, "dapo", tmp_path / who, "--engine", chosen, "--adapter", start)
        for who, (python, chosen) in runs.items()
    }
    near(reports["torch"], reports["mlx"])
    assert reports["torch"]["kl_base"] > 0
    moved = [load_file(tmp_path / who / "adapter_model.safetensors") for who in runs]
    before = load_file(start / "adapter_model.safetensors")
    assert set(moved[0]) == set(moved[1]) == set(before)
    for key, value in moved[0].items():
        # Adam's first step is as long as the rate, whatever the gradient's size.
        assert np.abs(value - before[key]).max() > 0.9 * RATE, key
        assert np.abs(value - moved[1][key]).max() < 0.01 * RATE, key
    program(MLX_PYTHON, mlx_pass.__file__, folder, batch, start, engine, tmp_path / "pass.npz")
    theirs = dict(np.load(tmp_path / "pass.npz"))
    ours = mlx_pass.found(str(folder), str(batch), str(start), None)
    assert np.abs(ours.pop("logp") - theirs.pop("logp")).max() < 1e-4
    assert np.abs(ours.pop("entropy") - theirs.pop("entropy")).max() < 1e-4
    close(ours, theirs, 1e-3)
