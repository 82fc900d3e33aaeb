"""What training takes in memory: the estimate against real models, and what is said where it does not fit."""

import json

import adapted
import pytest
import torch

from hone_worker import lora
from hone_worker.config import LoraConfig
from hone_worker.engine_choice import open_engine
from hone_worker.errors import WorkerError
from hone_worker.lightning import device_memory, memory
from hone_worker.loading.model_files import open_model

QWEN3_4B = {
    "model_type": "qwen3",
    "hidden_size": 2560,
    "num_hidden_layers": 36,
    "intermediate_size": 9728,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
}


def refused(**changes):
    asked = {"weight_bytes": 2, "quantized": False, "context_tokens": 40960, "free": 8e9, "cuda": True, **changes}
    with pytest.raises(WorkerError) as caught:
        memory.require("Qwen/Qwen3-4B", QWEN3_4B, asked.pop("lora", LoraConfig(rank=16)), **asked)
    return caught.value


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "phi3"])
def test_parts_of_counts_a_real_models_parameters_and_its_adapters(model_folders, architecture):
    engine, _ = adapted.opened(model_folders[architecture])
    config = json.loads((model_folders[architecture] / "config.json").read_text())
    parts = memory.parts_of(config)
    assert parts.in_linears + parts.elsewhere == engine.parameters
    adapter = lora.create(engine.linears, engine.layers, LoraConfig(rank=3, last_layers=2), seed=0)
    needed = memory.need(parts, LoraConfig(rank=3, last_layers=2), 4, False, tokens=8)
    assert (needed.weights, needed.adapter) == (4 * engine.parameters, 16 * adapter.size)
    assert memory.need(parts, LoraConfig(), 4, False, 8, spread=2).weights == 2 * engine.parameters


def test_require_says_what_is_needed_and_what_would_fit():
    error = refused()
    assert (error.code, error.message, error.hint) == (
        "OUT_OF_MEMORY",
        "Training 'Qwen/Qwen3-4B' needs about 8.9 GB of memory (weights 8.0, adapter of rank 16 and its optimiser 0.5, a row "
        "of 1024 tokens 0.3), and 8.0 GB are free.",
        "What would fit: quantize 4bit or a smaller model, or a GPU with 8.9 GB free.",
    )
    assert refused(free=12e9, lora=LoraConfig(rank=512)).hint.startswith("What would fit: lora.rank 64 or ")
    assert refused(weight_bytes=4, free=12e9, cuda=False).hint == (
        "What would fit: precision bf16 or a smaller model, or a machine with 17.2 GB free."
    )


def test_require_accepts_what_fits_and_leaves_unknown_architectures_to_the_loader():
    memory.require(
        "m", QWEN3_4B, LoraConfig(), weight_bytes=2, quantized=True, context_tokens=8192, free=4e9, cuda=True)
    memory.require(
        "m", {"model_type": "none"}, LoraConfig(), weight_bytes=2, quantized=False, context_tokens=8, free=1, cuda=False)


def test_an_engine_is_refused_before_its_weights_are_read(llama_folder, tmp_path, monkeypatch):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((llama_folder / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not read")
    monkeypatch.setattr(device_memory, "free_bytes", lambda device: 1000.0)
    with pytest.raises(WorkerError) as caught:
        open_engine(open_model(str(tmp_path), tmp_path), options={}, lora=LoraConfig())
    assert caught.value.code == "OUT_OF_MEMORY"


def test_ran_out_knows_a_failed_allocation_from_other_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert memory.ran_out(caught.value)
    assert not memory.ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    error = memory.exhausted(caught.value, 4096, quantized=False, cuda=True)
    assert error.code == "OUT_OF_MEMORY" and error.message.startswith(
        "The step needs more memory than there is; the adapter was not changed. "
    )
    assert error.hint == (
        "Rows of about 4096 tokens would fit: set context_tokens to that, lower micro_batch_tokens, set "
        "gradient_checkpointing to true, lower lora.rank, or quantize the model to 4 bits."
    )


def test_a_control_groups_cached_files_are_free(tmp_path):
    for name, text in (
        ("memory.max", "1000"),
        ("memory.current", "900"),
        ("memory.stat", "anon 300\nactive_file 200\ninactive_file 400"),
    ):
        (tmp_path / name).write_text(f"{text}\n")
    assert device_memory._free_in_group(tmp_path) == 700
    (tmp_path / "memory.max").write_text("max\n")
    assert device_memory._free_in_group(tmp_path) == float("inf") == device_memory._free_in_group(tmp_path / "none")


def test_free_bytes_is_less_than_the_machine_has():
    import psutil

    assert 0 < device_memory.free_bytes(torch.device("cpu")) <= psutil.virtual_memory().total
