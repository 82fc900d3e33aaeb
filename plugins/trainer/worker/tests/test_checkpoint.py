"""Checkpoints and exports on disk: round trips, other readers, resumed runs."""

import json

import builders
import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import load_file

from hone_worker.config import LossConfig
from hone_worker.errors import WorkerError
from hone_worker import checkpoint
from hone_worker.export import export


def test_save_then_resume_goes_on_with_the_same_bits(llama_folder, rng, tmp_path):
    first = builders.training(llama_folder)
    batch = first.sampled(builders.trajectories(rng))
    first.train_step(1, batch, LossConfig())
    saved = checkpoint.save(first.state, tmp_path / "step-1")
    assert saved["bytes"] == sum(f.stat().st_size for f in (tmp_path / "step-1").iterdir())
    second = builders.training(llama_folder, noise=0.5)
    checkpoint.resume(second.state, tmp_path / "step-1")
    assert second.state.step == 1 and second.train_step(1, [], LossConfig()) == first.state.results["train_step:1"]
    for training in (first, second):
        training.train_step(2, batch, LossConfig())
    for name, value in first.params.items():
        assert value.tobytes() == second.params[name].tobytes()


def test_save_replaces_an_older_checkpoint_and_leaves_nothing_aside(llama_folder, rng, tmp_path):
    training = builders.training(llama_folder)
    checkpoint.save(training.state, tmp_path / "last")
    training.supervise(1, builders.trajectories(rng))
    checkpoint.save(training.state, tmp_path / "last")
    assert [f.name for f in tmp_path.iterdir()] == ["last"]
    assert json.loads((tmp_path / "last" / "state.json").read_text())["updates"] == 1
    params = checkpoint.load_peft(tmp_path / "last", training.state.adapter, training.state.model)
    assert all(np.array_equal(params[name], value) for name, value in training.params.items())


def test_save_leaves_the_old_checkpoint_when_writing_fails(llama_folder, tmp_path, monkeypatch):
    training = builders.training(llama_folder)
    checkpoint.save(training.state, tmp_path / "last")
    training.state.results["supervise:9"] = {"unserialisable": object()}
    with pytest.raises(TypeError):
        checkpoint.save(training.state, tmp_path / "last")
    assert [f.name for f in tmp_path.iterdir()] == ["last"]
    checkpoint.resume(builders.training(llama_folder).state, tmp_path / "last")


def test_save_says_that_the_disk_is_full_and_leaves_the_old_checkpoint(llama_folder, tmp_path):
    training = builders.training(llama_folder)
    checkpoint.save(training.state, tmp_path / "last")

    def onto_a_full_disk(aside):
        (aside / "state.json").symlink_to("/dev/full")
        (aside / "state.json").write_text("x" * 100_000)

    with pytest.raises(WorkerError) as caught:
        checkpoint.replace_folder(tmp_path / "last", onto_a_full_disk)
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "NO_SPACE",
        f"Cannot write {tmp_path / 'last'}: no space left on the disk.",
        "Free disk space; `hone resume` continues the run from its last checkpoint.",
    )
    assert [f.name for f in tmp_path.iterdir()] == ["last"]
    checkpoint.resume(builders.training(llama_folder).state, tmp_path / "last")


def test_an_adapter_of_another_model_is_refused(llama_folder, tmp_path):
    training = builders.training(llama_folder)
    training.state.model = "Qwen/Qwen3-4B"
    checkpoint.save(training.state, tmp_path / "last")
    with pytest.raises(WorkerError) as caught:
        checkpoint.load_peft(tmp_path / "last", training.state.adapter, "meta-llama/Llama-3.1-8B-Instruct")
    assert (caught.value.code, caught.value.message) == (
        "ADAPTER_INVALID",
        f"Cannot load the adapter in {tmp_path / 'last'}: it belongs to the model 'Qwen/Qwen3-4B', and this run trains "
        "'meta-llama/Llama-3.1-8B-Instruct'.",
    )
    # Case does not matter on the hub, and folders may have moved.
    for model in ("qwen/qwen3-4b", "/models/qwen", str(llama_folder)):
        assert checkpoint.load_peft(tmp_path / "last", training.state.adapter, model)


def test_peft_names_and_orientation(llama_folder, tmp_path):
    training = builders.training(llama_folder)
    export(training.engine, training.state, tmp_path / "peft")
    tensors = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    name = "base_model.model.model.layers.3.mlp.down_proj"
    assert tensors[f"{name}.lora_A.weight"].shape == (3, 48)
    assert tensors[f"{name}.lora_B.weight"].shape == (32, 3)
    settings = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    assert settings["r"] == 3 and settings["lora_alpha"] == 6 and settings["layers_to_transform"] == [2, 3]
    # The definition of PEFT, y += (alpha / r) · x Aᵀ Bᵀ, against our merged weights.
    a, b = tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]
    fast = training.engine.weights
    merged = fast.merged(training.params, training.state.adapter.config.scale)
    assert np.allclose(merged.layers[3].down, fast.layers[3].down + 2.0 * b @ a, atol=1e-6)
    assert merged.layers[0] is fast.layers[0]


@pytest.mark.parametrize("format", ["peft", "mlx"])
@pytest.mark.parametrize("engine", ["cpu_llama", "mlx"])
def test_export_proves_that_the_files_are_the_policy(llama_folder, tmp_path, format, engine):
    training = builders.training(llama_folder, engine)
    result = export(training.engine, training.state, tmp_path / "out", format)
    assert {f["name"] for f in result["files"]} == {f.name for f in (tmp_path / "out").iterdir()}
    assert all(len(f["sha256"]) == 64 and f["bytes"] > 0 for f in result["files"])
    assert result["proof"]["changed_tensors"] == 14
    assert result["proof"]["max_abs_delta"] > 0.01
    assert result["proof"]["logprob_max_diff"] < 1e-4


def test_mlx_lm_loads_the_mlx_export(llama_folder, tmp_path):
    from mlx_lm import utils

    training = builders.training(llama_folder, "mlx")
    export(training.engine, training.state, tmp_path / "mlx", "mlx")
    module, _ = utils.load_model(llama_folder, model_config={"rope_theta": 5000.0})
    theirs = utils.load_adapters(module, str(tmp_path / "mlx"))
    ids = mx.arange(2, 30)[None]
    training.engine.reference_logprobs(np.arange(4), training.params)  # leaves the adapter in the module
    difference = mx.abs(theirs(ids) - training.engine.module(ids)).max().item()
    base = mx.abs(theirs(ids) - utils.load_model(llama_folder, model_config={"rope_theta": 5000.0})[0](ids)).max().item()
    assert difference < 1e-4 < base


def test_load_refuses_what_does_not_fit(llama_folder, tmp_path):
    training = builders.training(llama_folder)
    with pytest.raises(WorkerError) as caught:
        checkpoint.resume(training.state, tmp_path / "none")
    assert caught.value.code == "ADAPTER_INVALID"
    training.params["model.layers.3.mlp.up_proj.lora_a"] = np.zeros((32, 4), np.float32)
    checkpoint.save(training.state, tmp_path / "other")
    with pytest.raises(WorkerError, match="up_proj.lora_a has not the shape"):
        checkpoint.resume(builders.training(llama_folder).state, tmp_path / "other")
    with pytest.raises(WorkerError) as caught:
        export(training.engine, training.state, tmp_path / "x", "gguf")
    assert caught.value.code == "EXPORT_FORMAT_UNKNOWN"
