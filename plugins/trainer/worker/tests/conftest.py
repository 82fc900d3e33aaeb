"""Shared parts: tiny random models of real architectures, made once a session."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import hone_worker.mlx  # noqa: F401  loads the BLAS before mlx.core
import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from worker_process import Process

VOCAB = 96
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCAB,
    "max_position_embeddings": 512,
    "head_dim": 8,
    "tie_word_embeddings": True,
    "eos_token_id": 1,
}
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def write_model(folder: pathlib.Path, model_type: str, **changes: object) -> pathlib.Path:
    """Saves a random model of ``model_type`` as transformers 5 would write it."""
    import importlib

    config = {"model_type": model_type, **SHAPE, "rope_parameters": {"rope_theta": 5000.0, "rope_type": "default"}}
    config.update(changes)
    architecture = importlib.import_module(f"mlx_lm.models.{model_type}")
    args = architecture.ModelArgs.from_dict({**config, "rope_theta": 5000.0})
    mx.random.seed(7)
    module = architecture.Model(args)
    weights = {name: mx.random.normal(value.shape) * 0.15 for name, value in tree_flatten(module.parameters())}
    weights.update({name: 1 + 0.1 * value for name, value in weights.items() if "norm" in name})
    folder.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    (folder / "config.json").write_text(json.dumps(config))
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())[: VOCAB - 2]
    vocab = {"<unk>": 0, "</s>": 1, **{c: i + 2 for i, c in enumerate(characters)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "chat_template": TEMPLATE}))
    return folder


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_model(tmp_path_factory.mktemp("llama"), "llama")


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_model(tmp_path_factory.mktemp("qwen3"), "qwen3")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Any]:
    """Starts workers that end with the test."""
    begun: list[Process] = []

    def begin() -> Process:
        begun.append(Process(tmp_path))
        return begun[-1]

    yield begin
    for process in begun:
        process.end()
