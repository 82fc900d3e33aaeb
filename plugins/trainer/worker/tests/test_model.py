"""Loading models: folders, a hub (a local stand-in), the built-in one; and their logits."""

import http.server
import json
import os
import pathlib
import shutil
import threading
import urllib.parse

import conftest
import mlx.core as mx
import numpy as np
import pytest

from hone_worker.config import LoraConfig
from hone_worker.errors import WorkerError
from hone_worker.mlx import hub, llama, lora, model, ops

BUILT_IN_CACHE = os.environ.get("HONE_MODEL_CACHE", str(pathlib.Path.home() / ".cache" / "hone"))


def test_load_reads_a_folder_with_its_tokenizer_and_template(llama_folder):
    loaded = model.load(str(llama_folder), llama_folder)
    assert loaded.fast is not None and loaded.eos_token_ids == [1]
    assert loaded.context_tokens == 512 and not loaded.renders_tools
    assert loaded.chat_template == conftest.TEMPLATE
    ids = loaded.encode("hé</s>")
    assert ids[-1] == 1 and loaded.decode(ids[-1:]) == "</s>" and loaded.decode(ids[-1:], skip_special=True) == ""
    assert loaded.parameters == sum(v.size for v in mx.load(str(llama_folder / "model.safetensors")).values())


def test_load_takes_the_rotary_base_from_where_transformers_5_writes_it(llama_folder):
    loaded = model.load(str(llama_folder), llama_folder)
    assert "rope_theta" not in json.loads((llama_folder / "config.json").read_text())
    assert loaded.module.args.rope_theta == loaded.config["rope_theta"] == 5000.0
    assert np.allclose(loaded.fast.cos[7], np.cos(7 * 5000.0 ** (-np.arange(4) / 4)), atol=1e-6)


def test_fast_weights_share_the_memory_of_the_module(llama_folder):
    loaded = model.load(str(llama_folder), llama_folder)
    query = np.array(loaded.module.layers[1].self_attn.q_proj.weight, copy=False)
    assert np.shares_memory(query, loaded.fast.layers[1].qkv)


@pytest.mark.parametrize("changes", [{"attention_bias": True}, {"rope_parameters": {"rope_theta": 5e3, "rope_type": "linear", "factor": 2.0}, "rope_scaling": {"type": "linear", "factor": 2.0}}])
def test_other_llama_shapes_take_the_general_path(tmp_path, changes):
    folder = conftest.write_model(tmp_path / "m", "llama", **changes)
    assert model.load(str(folder), tmp_path).fast is None


def test_lora_create_chooses_layers_and_modules(llama_folder):
    loaded = model.load(str(llama_folder), llama_folder)
    adapter = lora.create(loaded.module, LoraConfig(rank=2, last_layers=1, target_modules=("q_proj", "down_proj")), 0)
    assert sorted(adapter.shapes) == ["model.layers.3.mlp.down_proj", "model.layers.3.self_attn.q_proj"]
    assert adapter.first_layer == 3 and adapter.size == 2 * (32 + 32) + 2 * (48 + 32)
    with pytest.raises(WorkerError) as caught:
        lora.create(model.load(str(llama_folder), llama_folder).module, LoraConfig(target_modules=("c_attn",)), 0)
    assert caught.value.code == "LORA_NO_TARGET"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda folder: None, "MODEL_NOT_FOUND"),
        (lambda folder: folder.mkdir(), "MODEL_INCOMPLETE"),
    ],
)
def test_load_says_what_a_folder_lacks(tmp_path, make, code):
    make(tmp_path / "m")
    with pytest.raises(WorkerError) as caught:
        model.load(str(tmp_path / "m"), tmp_path)
    assert caught.value.code == code and caught.value.hint


def test_load_refuses_an_unknown_architecture(llama_folder, tmp_path):
    shutil.copytree(llama_folder, tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "model_type": "zzz"}))
    with pytest.raises(WorkerError) as caught:
        model.load(str(tmp_path / "m"), tmp_path)
    assert caught.value.code == "MODEL_UNSUPPORTED"


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's HTTP as a snapshot download asks for."""

    folder: pathlib.Path
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        path = urllib.parse.urlparse(self.path).path
        if path.startswith("/api/models/acme/tiny"):
            names = [file.name for file in sorted(self.folder.iterdir())]
            if "/tree/" in path:
                listed = [{"type": "file", "path": n, "size": (self.folder / n).stat().st_size, "oid": "0" * 40} for n in names]
                return self.answer(json.dumps(listed).encode(), body)
            value = {"id": "acme/tiny", "sha": self.commit, "siblings": [{"rfilename": n} for n in names]}
            return self.answer(json.dumps(value).encode(), body)
        if path.startswith("/acme/tiny/resolve/"):
            return self.answer((self.folder / path.rsplit("/", 1)[1]).read_bytes(), body)
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, data, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("ETag", f'"{hash(data) & 0xFFFFFFFF:x}"')
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def endpoint(llama_folder, monkeypatch):
    handler = type("Handler", (_Hub,), {"folder": llama_folder})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def test_load_downloads_from_the_hub_that_hf_endpoint_names(endpoint, tmp_path, llama_folder):
    loaded = model.load("acme/tiny", tmp_path)
    assert loaded.fast is not None and loaded.path.is_relative_to(tmp_path / "hub")
    expected = ops.logits(model.load(str(llama_folder), tmp_path).fast, np.arange(9))
    assert np.array_equal(ops.logits(loaded.fast, np.arange(9)), expected)


def test_load_says_when_the_hub_has_no_such_model(endpoint, tmp_path):
    with pytest.raises(WorkerError) as caught:
        model.load("acme/none", tmp_path)
    assert caught.value.code == "MODEL_NOT_FOUND"


def test_load_says_when_the_hub_cannot_be_reached(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WorkerError) as caught:
        hub.resolve("acme/tiny", tmp_path)
    assert caught.value.code == "MODEL_DOWNLOAD_FAILED" and "HF_ENDPOINT" in caught.value.hint


@pytest.fixture(scope="module")
def built_in():
    path = pathlib.Path(BUILT_IN_CACHE) / model.BUILT_IN
    if not path.is_dir():
        pytest.skip(f"the built-in model is not in {BUILT_IN_CACHE} (set HONE_MODEL_CACHE)")
    return model.load(model.BUILT_IN, BUILT_IN_CACHE)


def test_built_in_model_speaks(built_in):
    text = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    ids = built_in.encode(text)
    assert built_in.decode(ids) == text and ids[0] == 1 and built_in.eos_token_ids == [2]
    for _ in range(8):
        ids.append(int(ops.logits(built_in.fast, np.array(ids))[-1].argmax()))
    assert built_in.decode(ids).endswith("The capital of France is Paris.<|im_end|>")


def test_built_in_logits_equal_those_of_mlx_lm(built_in):
    # Two implementations: mlx-lm's module and the plain numpy forward. A rotary base of 10000,
    # which mlx-lm would silently take, puts the logits 4 apart.
    ids = np.array(built_in.encode("The tools are: read_file, write_file. Answer in JSON: {\"name\":"))
    theirs = np.array(built_in.module(mx.array(ids[None]))[0])
    assert np.abs(ops.logits(built_in.fast, ids) - theirs).max() < 1e-3
    built_in.module.args.rope_theta = 10000.0
    wrong = llama.extract(built_in.module, built_in.config, 64)
    assert np.abs(ops.logits(wrong, ids) - theirs).max() > 1
    built_in.module.args.rope_theta = 100000.0


def test_built_in_tokenizer_splits_digits_and_round_trips(built_in):
    text = "Order 1234: café, naïve — 東京 🚀\n\ttabs"
    ids = built_in.encode(text)
    assert built_in.decode(ids) == text
    assert [built_in.decode([i]) for i in built_in.encode("1234")] == list("1234")
