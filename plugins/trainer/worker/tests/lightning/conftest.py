"""Tiny random models of the architectures that hone is to train on CUDA, as transformers writes them."""

from __future__ import annotations

import json
import pathlib

import pytest
import torch
import transformers

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from builders import SHAPE, write_tokenizer

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# What each architecture adds to SHAPE, by its model_type and what follows a hyphen.
ARCHITECTURES = {
    "qwen3": {},
    "llama-2": {"tie_word_embeddings": False},
    "llama": {"tie_word_embeddings": False, "rope_parameters": LLAMA3_ROPE},
    "phi3": {"tie_word_embeddings": False, "sliding_window": None},
    "mistral": {"tie_word_embeddings": False, "sliding_window": 24},
    "gemma2": {"query_pre_attn_scalar": 8, "sliding_window": 24},
    "granite": {"logits_scaling": 3.0, "residual_multiplier": 0.5, "attention_multiplier": 0.3},
}


def write_model(folder: pathlib.Path, name: str, **changes: object) -> pathlib.Path:
    """Saves a random model of an architecture with a tokenizer of single bytes and a chat template."""
    settings = {**SHAPE, "bos_token_id": None, "pad_token_id": None, **ARCHITECTURES[name], **changes}
    config = transformers.AutoConfig.for_model(name.partition("-")[0], **settings)
    torch.manual_seed(7)
    module = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            # Large enough that heads attend and that logits differ.
            weight.copy_(1 + 0.015 * torch.randn_like(weight) if "norm" in name else 0.15 * torch.randn_like(weight))
    module.save_pretrained(folder)
    return write_tokenizer(folder)


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """A folder of each architecture."""
    root = tmp_path_factory.mktemp("models")
    return {name: write_model(root / name, name) for name in ARCHITECTURES}


@pytest.fixture(scope="session")
def llama_folder(model_folders: dict[str, pathlib.Path]) -> pathlib.Path:
    """A Llama 3."""
    return model_folders["llama"]


@pytest.fixture(scope="session")
def qwen_folder(model_folders: dict[str, pathlib.Path]) -> pathlib.Path:
    """A Qwen 3."""
    return model_folders["qwen3"]


@pytest.fixture(scope="session")
def phi_folder(model_folders: dict[str, pathlib.Path]) -> pathlib.Path:
    """A Phi 3, whose linear maps of one input are one."""
    return model_folders["phi3"]


TEMPLATES = pathlib.Path(__file__).parent / "chat_templates"
# Special tokens of the families' templates, the end token first.
SPECIAL = {
    "qwen3": ["<|im_end|>", "<|im_start|>", "<think>", "</think>", "<tool_call>", "</tool_call>"],
    "llama": ["<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>"],
    "phi3": ["<|im_end|>", "<|im_start|>", "<|im_sep|>"],
}


@pytest.fixture(scope="session")
def chat_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """Tiny Qwen 3, Llama 3 and Phi-4 with their templates, and a token for each byte and special token."""
    root, folders = tmp_path_factory.mktemp("chat"), {}
    for name, special in SPECIAL.items():
        characters = sorted(pre_tokenizers.ByteLevel.alphabet())
        folders[name] = write_model(
            root / name, name, vocab_size=len(characters) + len(special), eos_token_id=len(characters),
            max_position_embeddings=1024)
        tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(characters)}, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens(special)
        tokenizer.save(str(folders[name] / "tokenizer.json"))
        settings = {"eos_token": special[0], "bos_token": "<|begin_of_text|>" if name == "llama" else None}
        (folders[name] / "tokenizer_config.json").write_text(json.dumps(settings))
        (folders[name] / "chat_template.jinja").write_text((TEMPLATES / f"{name}.jinja").read_text())
    return folders
