"""Adapters on disk: round trips, other readers, resumed runs."""

import json

import builders
import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import load_file

from hone_worker.config import LossConfig
from hone_worker.errors import WorkerError
from hone_worker.mlx import adapter, lora


def test_save_then_resume_goes_on_with_the_same_bits(llama_folder, rng, tmp_path):
    batch = builders.trajectories(rng)
    first = builders.trainer(llama_folder)
    first.train_step(1, batch, LossConfig())
    saved = adapter.save(first, tmp_path / "step-1")
    assert saved["bytes"] == sum(f.stat().st_size for f in (tmp_path / "step-1").iterdir())
    second = builders.trainer(llama_folder, noise=0.5)
    adapter.resume(second, tmp_path / "step-1")
    assert second.step == 1 and second.train_step(1, [], LossConfig()) == first.results["train_step:1"]
    for trainer in (first, second):
        trainer.train_step(2, batch, LossConfig())
    for name, value in first.adapter.params.items():
        assert value.tobytes() == second.adapter.params[name].tobytes()


def test_save_replaces_an_older_checkpoint_and_leaves_nothing_aside(llama_folder, rng, tmp_path):
    trainer = builders.trainer(llama_folder)
    adapter.save(trainer, tmp_path / "last")
    trainer.supervise(1, builders.trajectories(rng))
    adapter.save(trainer, tmp_path / "last")
    assert [f.name for f in tmp_path.iterdir()] == ["last"]
    assert json.loads((tmp_path / "last" / "state.json").read_text())["updates"] == 1
    params = adapter.load_peft(tmp_path / "last", trainer.adapter)
    assert all(np.array_equal(params[name], value) for name, value in trainer.adapter.params.items())


def test_save_leaves_the_old_checkpoint_when_writing_fails(llama_folder, tmp_path, monkeypatch):
    trainer = builders.trainer(llama_folder)
    adapter.save(trainer, tmp_path / "last")
    trainer.results["supervise:9"] = {"unserialisable": object()}
    with pytest.raises(TypeError):
        adapter.save(trainer, tmp_path / "last")
    assert [f.name for f in tmp_path.iterdir()] == ["last"]
    adapter.resume(builders.trainer(llama_folder), tmp_path / "last")


def test_peft_names_and_orientation(llama_folder, tmp_path):
    trainer = builders.trainer(llama_folder)
    adapter.export(trainer, tmp_path / "peft")
    tensors = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    name = "base_model.model.model.layers.3.mlp.down_proj"
    assert tensors[f"{name}.lora_A.weight"].shape == (3, 48)
    assert tensors[f"{name}.lora_B.weight"].shape == (32, 3)
    settings = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert settings["r"] == 3 and settings["lora_alpha"] == 6 and settings["layers_to_transform"] == [2, 3]
    # The definition of PEFT, y += (alpha / r) · x Aᵀ Bᵀ, against our merged weights.
    a, b = tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
    fast = trainer.model.fast
    merged = fast.merged(trainer.adapter.params, trainer.adapter.config.scale)
    assert np.allclose(merged.layers[3].down, fast.layers[3].down + 2.0 * b @ a, atol=1e-6)
    assert merged.layers[0] is fast.layers[0]


@pytest.mark.parametrize("format", ["peft", "mlx"])
@pytest.mark.parametrize("fast", [True, False])
def test_export_proves_that_the_files_are_the_policy(llama_folder, tmp_path, format, fast):
    trainer = builders.trainer(llama_folder, fast=fast)
    result = adapter.export(trainer, tmp_path / "out", format)
    assert {f["name"] for f in result["files"]} == {f.name for f in (tmp_path / "out").iterdir()}
    assert all(len(f["sha256"]) == 64 and f["bytes"] > 0 for f in result["files"])
    assert result["proof"]["changed_tensors"] == 14
    assert result["proof"]["max_abs_delta"] > 0.01
    assert result["proof"]["logprob_max_diff"] < 1e-4


def test_mlx_lm_loads_the_mlx_export(llama_folder, tmp_path):
    from mlx_lm import utils

    trainer = builders.trainer(llama_folder)
    adapter.export(trainer, tmp_path / "mlx", "mlx")
    module, _ = utils.load_model(llama_folder, model_config={"rope_theta": 5000.0})
    theirs = utils.load_adapters(module, str(tmp_path / "mlx"))
    ids = mx.arange(2, 30)[None]
    lora.use(trainer.model.module, trainer.adapter.params)
    difference = mx.abs(theirs(ids) - trainer.model.module(ids)).max().item()
    base = mx.abs(theirs(ids) - utils.load_model(llama_folder, model_config={"rope_theta": 5000.0})[0](ids)).max().item()
    assert difference < 1e-4 < base


def test_load_refuses_what_does_not_fit(llama_folder, tmp_path):
    trainer = builders.trainer(llama_folder)
    with pytest.raises(WorkerError) as caught:
        adapter.resume(trainer, tmp_path / "none")
    assert caught.value.code == "ADAPTER_INVALID"
    trainer.adapter.params["model.layers.3.mlp.up_proj.lora_a"] = np.zeros((32, 4), np.float32)
    adapter.save(trainer, tmp_path / "other")
    with pytest.raises(WorkerError, match="up_proj.lora_a has not the shape"):
        adapter.resume(builders.trainer(llama_folder), tmp_path / "other")
    with pytest.raises(WorkerError) as caught:
        adapter.export(trainer, tmp_path / "x", "gguf")
    assert caught.value.code == "EXPORT_FORMAT_UNKNOWN"
