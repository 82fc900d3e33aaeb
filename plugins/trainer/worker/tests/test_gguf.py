"""The GGUF reader against MLX's own, and against the format's definition of what the built-in model has not."""

import os
import pathlib
import struct

import hone_worker.mlx  # noqa: F401  loads the BLAS before mlx.core
import mlx.core as mx
import numpy as np
import pytest

from hone_worker.errors import WorkerError
from hone_worker.loading.built_in import BUILT_IN
from hone_worker.loading.gguf import GgufFile

CACHE = os.environ.get("HONE_MODEL_CACHE", str(pathlib.Path.home() / ".cache" / "hone"))
FILE = pathlib.Path(CACHE) / BUILT_IN / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.skipif(not FILE.is_file(), reason=f"the built-in model is not in {CACHE} (set HONE_MODEL_CACHE)")
def test_weights_equal_those_that_mlx_reads():
    ours = dict(GgufFile(FILE).weights())
    theirs, meta = mx.load(str(FILE), return_metadata=True)
    assert len(ours) == sum(name.endswith(".weight") for name in theirs) == 272

    def dense(stem):  # Q4_1 and Q8_0, as MLX stores them
        packed, scales = theirs[f"{stem}.weight"], theirs[f"{stem}.scales"].astype(mx.float32)
        bits = packed.shape[-1] // scales.shape[-1]
        return np.array(mx.dequantize(packed, scales, theirs[f"{stem}.biases"].astype(mx.float32), 32, bits))

    assert np.array_equal(ours["model.layers.7.mlp.down_proj.weight"], dense("blk.7.ffn_down"))
    assert np.array_equal(ours["model.embed_tokens.weight"], dense("token_embd"))
    norm = np.array(theirs["blk.29.ffn_norm.weight"])
    assert np.array_equal(ours["model.layers.29.post_attention_layernorm.weight"], norm)
    # llama.cpp interleaves the halves of each head: rows 0, 1 of a head are its rows 0, d/2.
    key = dense("blk.7.attn_k").reshape(3, 64, 576)
    mine = ours["model.layers.7.self_attn.k_proj.weight"].reshape(3, 64, 576)
    assert np.array_equal(key[:, 0::2], mine[:, :32]) and np.array_equal(key[:, 1::2], mine[:, 32:])
    assert GgufFile(FILE).chat_template == meta["tokenizer.chat_template"]


def gguf(path, metadata, tensors=()):
    """A file of text metadata, and of tensors (name, type, data) of 32 numbers each."""

    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    data = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    data += b"".join(text(name) + struct.pack("<I", 8) + text(value) for name, value in metadata.items())
    for index, (name, kind, _) in enumerate(tensors):
        data += text(name) + struct.pack("<IQIQ", 1, 32, kind, 128 * index)
    data += bytes(-len(data) % 32) + b"".join(content.ljust(128, b"\0") for _, _, content in tensors)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("metadata", "kind", "problem"),
    [
        ({"general.architecture": "mamba"}, 0, "architecture 'mamba'"),
        ({"general.architecture": "llama", "tokenizer.ggml.model": "llama"}, 0, "with vocabulary 'llama'"),
        ({"general.architecture": "llama", "tokenizer.ggml.model": "gpt2"}, 12, r"tensors of types \[12\]"),
    ],
)
def test_another_architecture_vocabulary_or_storage_is_refused(tmp_path, metadata, kind, problem):
    with pytest.raises(WorkerError, match=problem) as caught:
        GgufFile(gguf(tmp_path / "m.gguf", metadata, [("x.weight", kind, b"")]))
    assert caught.value.code == "MODEL_UNSUPPORTED"
