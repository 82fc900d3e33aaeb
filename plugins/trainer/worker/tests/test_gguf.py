"""The GGUF reader against an independent one: a few lines over the format's own definition."""

import os
import pathlib
import struct

import numpy as np
import pytest

import hone_worker.mlx  # noqa: F401
from hone_worker.errors import WorkerError
from hone_worker.mlx import gguf, model

CACHE = os.environ.get("HONE_MODEL_CACHE", str(pathlib.Path.home() / ".cache" / "hone"))
FILE = pathlib.Path(CACHE) / model.BUILT_IN / "SmolLM2-135M-Instruct.Q4_1.gguf"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, kind):
        (value,) = struct.unpack_from("<" + kind, self.data, self.at)
        self.at += struct.calcsize("<" + kind)
        return value

    def text(self):
        size = self.take("Q")
        self.at += size
        return bytes(self.data[self.at - size : self.at]).decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, count = self.take("I"), self.take("Q")
            return [self.value(inner) for _ in range(count)]
        return self.take(SCALARS[kind])


def tensors(path, wanted):
    reader = Reader(memoryview(path.read_bytes()))
    assert bytes(reader.data[:4]) == b"GGUF"
    reader.at = 8
    count, keys = reader.take("Q"), reader.take("Q")
    for _ in range(keys):
        reader.text()
        reader.value(reader.take("I"))
    infos = {}
    for _ in range(count):
        name = reader.text()
        shape = [reader.take("Q") for _ in range(reader.take("I"))]
        infos[name] = (shape[::-1], reader.take("I"), reader.take("Q"))
    begin = -(-reader.at // 32) * 32
    return {name: dense(reader.data[begin + infos[name][2] :], *infos[name][:2]) for name in wanted}


def dense(data, shape, kind):
    size = int(np.prod(shape))
    if kind == 0:
        return np.frombuffer(data, np.float32, size).reshape(shape)
    if kind == 8:  # Q8_0: a half scale, 32 signed bytes
        block = np.frombuffer(data, np.dtype([("d", "<f2"), ("q", "i1", 32)]), size // 32)
        return (block["d"].astype(np.float32)[:, None] * block["q"]).reshape(shape)
    assert kind == 3, kind  # Q4_1: scale, minimum, 16 bytes whose low halves come first
    block = np.frombuffer(data, np.dtype([("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)]), size // 32)
    nibbles = np.concatenate([block["q"] & 15, block["q"] >> 4], axis=1)
    return (block["d"].astype(np.float32)[:, None] * nibbles + block["m"].astype(np.float32)[:, None]).reshape(shape)


@pytest.mark.skipif(not FILE.is_file(), reason=f"the built-in model is not in {CACHE} (set HONE_MODEL_CACHE)")
def test_read_equals_an_independent_reader():
    ours = gguf.read(FILE).weights
    names = ["blk.7.ffn_down.weight", "blk.7.attn_k.weight", "blk.29.ffn_norm.weight", "token_embd.weight"]
    theirs = tensors(FILE, names)
    assert np.abs(np.array(ours["model.layers.7.mlp.down_proj.weight"]) - theirs[names[0]]).max() < 1e-6
    assert np.array_equal(np.array(ours["model.layers.29.post_attention_layernorm.weight"]), theirs[names[2]])
    assert np.abs(np.array(ours["model.embed_tokens.weight"]) - theirs[names[3]]).max() < 1e-3
    # llama.cpp interleaves the halves of each head: rows 0, 1 of a head are its rows 0, d/2.
    key = theirs[names[1]].reshape(3, 64, 576)
    mine = np.array(ours["model.layers.7.self_attn.k_proj.weight"]).reshape(3, 64, 576)
    assert np.abs(key[:, 0::2] - mine[:, :32]).max() < 1e-6 and np.abs(key[:, 1::2] - mine[:, 32:]).max() < 1e-6


def test_read_refuses_another_architecture(tmp_path):
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    entry = text("general.architecture") + struct.pack("<I", 8) + text("mamba")
    tensor = text("x.weight") + struct.pack("<IQIQ", 1, 32, 0, 0)
    data = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + entry + tensor
    data += bytes(-len(data) % 32) + bytes(128)
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(WorkerError, match="'mamba'") as caught:
        gguf.read(tmp_path / "m.gguf")
    assert caught.value.code == "MODEL_UNSUPPORTED"
