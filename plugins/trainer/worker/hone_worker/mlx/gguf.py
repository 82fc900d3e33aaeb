"""Reads a Llama-shaped GGUF file: configuration, weights, tokenizer, chat template.

Only what the built-in model needs: architecture ``llama`` (llama.cpp's layout, whose
query and key rows are permuted for interleaved rotary pairs; here they are put back)
and a byte-level BPE vocabulary. Weights come out as fp32 in the names of the Hugging
Face checkpoint.
"""

from __future__ import annotations

import pathlib
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from hone_worker.errors import WorkerError

_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_CONTROL_TOKEN = 3


@dataclass(frozen=True)
class GgufModel:
    """config: as in config.json; weights: fp32 by checkpoint name; tokenizer; chat template; EOS ids."""

    config: dict[str, Any]
    weights: dict[str, mx.array]
    tokenizer: Tokenizer
    chat_template: str
    eos_token_ids: list[int]


def read(path: pathlib.Path) -> GgufModel:
    """Reads ``path``; raises WorkerError MODEL_UNSUPPORTED for another architecture."""
    tensors, meta = mx.load(str(path), return_metadata=True)
    architecture = meta.get("general.architecture")
    if architecture != "llama" or meta.get("tokenizer.ggml.model") != "gpt2":
        raise WorkerError(
            "MODEL_UNSUPPORTED",
            f"Cannot read {path.name}: architecture {architecture!r} with vocabulary "
            f"{meta.get('tokenizer.ggml.model')!r}.",
            "Give a folder with config.json and safetensors instead of a GGUF file.",
        )
    config = _config(meta, "output.weight" in tensors)
    return GgufModel(
        config=config,
        weights=_weights(tensors, config),
        tokenizer=_tokenizer(meta),
        chat_template=meta["tokenizer.chat_template"],
        eos_token_ids=config["eos_token_id"],
    )


def _config(meta: dict[str, Any], untied: bool) -> dict[str, Any]:
    def number(key: str) -> Any:
        return meta[f"llama.{key}"].item()

    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": number("embedding_length"),
        "num_hidden_layers": number("block_count"),
        "intermediate_size": number("feed_forward_length"),
        "num_attention_heads": number("attention.head_count"),
        "num_key_value_heads": number("attention.head_count_kv"),
        "rms_norm_eps": float(f"{number('attention.layer_norm_rms_epsilon'):.6g}"),
        "vocab_size": len(meta["tokenizer.ggml.tokens"]),
        "max_position_embeddings": number("context_length"),
        # At top level: mlx-lm takes 10000 when it finds none here.
        "rope_theta": number("rope.freq_base"),
        "tie_word_embeddings": not untied,
        "eos_token_id": [meta["tokenizer.ggml.eos_token_id"].item()],
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"].item(),
        "torch_dtype": "float32",
    }


def _weights(tensors: dict[str, mx.array], config: dict[str, Any]) -> dict[str, mx.array]:
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    weights = {}
    for name in tensors:
        stem, _, kind = name.rpartition(".")
        if kind != "weight":
            continue
        value = _dense(tensors, stem)
        part = stem.rsplit(".", 1)[-1]
        if part in heads:
            value = _unpermute(value, heads[part])
        if stem.startswith("blk."):
            target = f"model.layers.{stem.split('.')[1]}.{_NAMES[part]}"
        else:
            target = _TOP[stem]
        weights[f"{target}.weight"] = value
    return weights


def _dense(tensors: dict[str, mx.array], stem: str) -> mx.array:
    value = tensors[f"{stem}.weight"]
    scales = tensors.get(f"{stem}.scales")
    if scales is None:
        return value.astype(mx.float32)
    bits = value.shape[-1] * 32 // (scales.shape[-1] * 32)
    biases = tensors[f"{stem}.biases"].astype(mx.float32)
    return mx.dequantize(value, scales.astype(mx.float32), biases, group_size=32, bits=bits)


def _unpermute(weight: mx.array, heads: int) -> mx.array:
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _tokenizer(meta: dict[str, Any]) -> Tokenizer:
    tokens = meta["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in meta["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    splitter: list[pre_tokenizers.PreTokenizer] = []
    if meta.get("tokenizer.ggml.pre") == "smollm":
        splitter.append(pre_tokenizers.Digits(individual_digits=True))
    splitter.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splitter)
    tokenizer.decoder = decoders.ByteLevel()
    kinds = meta["tokenizer.ggml.token_type"].tolist()
    special = [t for t, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return tokenizer
