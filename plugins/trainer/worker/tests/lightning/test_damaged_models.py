"""Model folders that cannot be trained are refused with what is wrong, and nothing in them is run."""

import json
import os
import pickle
import shutil

import adapted
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hone_worker.errors import WorkerError
from hone_worker.lightning import launch
from hone_worker.lightning.lightning_config import LightningConfig

HINT = "Choose an architecture that transformers knows, with undamaged weights that fit its config.json."


def truncated(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def configured(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def pickled(folder):
    class Program:
        def __reduce__(self):
            return os.mkdir, (str(folder / "ran"),)

    (folder / "model.safetensors").rename(folder / "model-other.safetensors")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Program()))


@pytest.mark.parametrize(("damage", "problem"), [
    (truncated, "SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered"),
    (configured(hidden_size=64), "its weights have other shapes than its config.json says"),
    (pickled, "Error no file named model.safetensors found in directory {}"),
])
def test_weights_that_cannot_be_read_are_refused(qwen_folder, tmp_path, damage, problem):
    folder = shutil.copytree(qwen_folder, tmp_path / "m")
    damage(folder)
    with pytest.raises(WorkerError) as caught:
        adapted.opened(folder)
    message = f"Cannot load {str(folder)!r}: {problem.format(folder)}."
    assert (caught.value.code, caught.value.message, caught.value.hint) == ("MODEL_UNSUPPORTED", message, HINT)
    assert not (folder / "ran").exists()


def test_a_folder_that_also_holds_an_adapter_is_refused(qwen_folder, tmp_path):
    folder = shutil.copytree(qwen_folder, tmp_path / "m")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/elsewhere"}))
    with pytest.raises(WorkerError) as caught:
        adapted.opened(folder)
    assert caught.value.to_json() == {
        "code": "MODEL_UNSUPPORTED",
        "message": f"Cannot load {str(folder)!r}: {folder} also holds an adapter (adapter_config.json), for which "
        "transformers would load another model.",
        "hint": "Give the base model's own folder.",
    }


def test_weights_that_are_no_numbers_are_refused(qwen_folder, tmp_path):
    folder = shutil.copytree(qwen_folder, tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"] *= np.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WorkerError) as caught:
        adapted.opened(folder)
    assert caught.value.message == "The model answers random ids with logits that are not finite, in float32."


def test_more_processes_than_cores_are_refused(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    with pytest.raises(WorkerError) as caught:
        launch.form(LightningConfig(devices=64))
    assert caught.value.to_json() == {
        "code": "CONFIG_INVALID",
        "message": "The Lightning engine has devices 64, but torch finds no GPU, and this machine has 4 cores.",
        "hint": "Lower devices, or leave it out: one process takes all cores.",
    }
