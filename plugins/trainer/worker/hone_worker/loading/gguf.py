"""Reads a Llama-shaped GGUF file: configuration, weights, tokenizer, chat template.

Only what the built-in model needs: architecture ``llama`` (llama.cpp's layout, whose query and key
rows are permuted for interleaved rotary pairs; here they are put back), a byte-level BPE vocabulary,
and weights stored as F32, F16, Q4_1 or Q8_0. Errors: WorkerError MODEL_UNSUPPORTED for anything else.
"""

from __future__ import annotations

import mmap
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
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
_ALIGNMENT = 32

# Metadata values by the format's number of their type; 8 is text, 9 an array.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
# Tensor types by number. A block of 32 numbers has a scale d, and in Q4_1 a minimum m and 16 bytes
# whose low halves come first.
_PLAIN = {0: np.dtype("<f4"), 1: np.dtype("<f2")}
_Q4_1, _Q8_0 = 3, 8
_BLOCKS = {
    _Q4_1: np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]),
    _Q8_0: np.dtype([("d", "<f2"), ("q", "i1", 32)]),
}
_BLOCK = 32


class GgufFile:
    """An open file. config: as in config.json of the checkpoint; chat_template; eos_token_ids."""

    def __init__(self, path: pathlib.Path) -> None:
        with path.open("rb") as file:
            self._data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        reader = _Reader(self._data)
        self._meta, self._tensors, self._start = reader.header()
        architecture, vocabulary = (self._meta.get(k) for k in ("general.architecture", "tokenizer.ggml.model"))
        strange = {kind for _, kind, _ in self._tensors.values()} - set(_PLAIN) - set(_BLOCKS)
        if architecture != "llama" or vocabulary != "gpt2" or strange:
            stored = f", tensors of types {sorted(strange)}" if strange else ""
            raise WorkerError(
                "MODEL_UNSUPPORTED",
                f"Cannot read {path.name}: architecture {architecture!r} with vocabulary {vocabulary!r}{stored}.",
                "Give a folder with config.json and safetensors instead of a GGUF file.",
            )
        self.config = _config(self._meta, "output.weight" in self._tensors)
        self.chat_template: str = self._meta["tokenizer.chat_template"]
        self.eos_token_ids: list[int] = self.config["eos_token_id"]

    def tokenizer(self) -> Tokenizer:
        """The byte-level BPE tokenizer that the metadata describes."""
        return _tokenizer(self._meta)

    def weights(self) -> Iterator[tuple[str, np.ndarray]]:
        """Every weight in fp32, (out, in), under its name in the Hugging Face checkpoint."""
        heads = {"attn_q": self.config["num_attention_heads"], "attn_k": self.config["num_key_value_heads"]}
        for name in self._tensors:
            stem = name.removesuffix(".weight")
            part = stem.rsplit(".", 1)[-1]
            value = self._dense(name)
            if part in heads:
                value = _unpermute(value, heads[part])
            if stem.startswith("blk."):
                yield f"model.layers.{stem.split('.')[1]}.{_NAMES[part]}.weight", value
            else:
                yield f"{_TOP[stem]}.weight", value

    def _dense(self, name: str) -> np.ndarray:
        shape, kind, offset = self._tensors[name]
        size, data = int(np.prod(shape)), self._data[self._start + offset :]
        if kind in _PLAIN:
            return np.frombuffer(data, _PLAIN[kind], size).astype(np.float32).reshape(shape)
        block = np.frombuffer(data, _BLOCKS[kind], size // _BLOCK)
        scale = block["d"].astype(np.float32)[:, None]
        if kind == _Q8_0:
            return (scale * block["q"]).reshape(shape)
        halves = np.concatenate([block["q"] & 15, block["q"] >> 4], axis=1)
        return (scale * halves + block["m"].astype(np.float32)[:, None]).reshape(shape)


class _Reader:
    """A cursor over the file's bytes."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def header(self) -> tuple[dict[str, Any], dict[str, tuple[list[int], int, int]], int]:
        """Metadata; shape, type and offset of every tensor; where the tensors begin."""
        self._at = 8  # past magic and version
        tensors, keys = self._take("Q"), self._take("Q")
        meta = {self._text(): self._value(self._take("I")) for _ in range(keys)}
        infos = {}
        for _ in range(tensors):
            name = self._text()
            shape = [self._take("Q") for _ in range(self._take("I"))][::-1]
            infos[name] = (shape, self._take("I"), self._take("Q"))
        alignment = meta.get("general.alignment", _ALIGNMENT)
        return meta, infos, -(-self._at // alignment) * alignment

    def _take(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self._data, self._at)
        self._at += struct.calcsize(f"<{code}")
        return value

    def _text(self) -> str:
        size = self._take("Q")
        self._at += size
        return bytes(self._data[self._at - size : self._at]).decode()

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _ARRAY:
            inner, count = self._take("I"), self._take("Q")
            return [self._value(inner) for _ in range(count)]
        return self._take(_SCALARS[kind])


def _config(meta: dict[str, Any], untied: bool) -> dict[str, Any]:
    def number(key: str) -> Any:
        return meta[f"llama.{key}"]

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
        "eos_token_id": [meta["tokenizer.ggml.eos_token_id"]],
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "torch_dtype": "float32",
    }


def _unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
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
    kinds = meta["tokenizer.ggml.token_type"]
    special = [t for t, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return tokenizer
