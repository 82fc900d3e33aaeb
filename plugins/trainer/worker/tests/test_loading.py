"""Loading models: folders, a hub (a local stand-in), the built-in one; and their logits."""

import http.server
import json
import os
import pathlib
import shutil
import threading
import urllib.parse

import builders
import conftest
import mlx.core as mx
import numpy as np
import pytest

from hone_worker import lora
from hone_worker.chat_template import ChatTemplate
from hone_worker.config import LoraConfig
from hone_worker.cpu_llama import from_mlx, ops
from hone_worker.engine_choice import open_engine
from hone_worker.errors import WorkerError
from hone_worker.loading import hub
from hone_worker.loading.built_in import BUILT_IN
from hone_worker.loading.model_files import open_model, require_context

BUILT_IN_CACHE = os.environ.get("HONE_MODEL_CACHE", str(pathlib.Path.home() / ".cache" / "hone"))


def test_open_model_reads_a_folder_with_its_tokenizer_and_template(llama_folder):
    files, engine = builders.opened(llama_folder)
    assert engine.name == "cpu_llama" and files.eos_token_ids == [1]
    template = ChatTemplate(files.chat_template, files.encode, files.decode, files.eos_token_ids, files.special_tokens)
    assert files.context_tokens == 512 and not template.renders_tools()
    assert files.chat_template == builders.TEMPLATE and files.special_tokens == {"eos_token": "</s>"}
    ids = files.encode("hé</s>")
    assert ids[-1] == 1 and files.decode(ids[-1:]) == "</s>"
    assert engine.parameters == sum(v.size for v in mx.load(str(llama_folder / "model.safetensors")).values())


def test_the_rotary_base_is_taken_from_where_transformers_5_writes_it(llama_folder):
    files, engine = builders.opened(llama_folder, "mlx")
    assert "rope_theta" not in json.loads((llama_folder / "config.json").read_text())
    assert engine.module.args.rope_theta == files.config["rope_theta"] == 5000.0
    weights = builders.opened(llama_folder)[1].weights
    assert np.allclose(weights.cos[7], np.cos(7 * 5000.0 ** (-np.arange(4) / 4)), atol=1e-6)


def test_weights_share_the_memory_of_the_module(llama_folder):
    files, engine = builders.opened(llama_folder, "mlx")
    weights = from_mlx.take_weights(engine.module, files.config, files.context_tokens)
    query = np.array(engine.module.layers[1].self_attn.q_proj.weight, copy=False)
    assert np.shares_memory(query, weights.layers[1].qkv)


@pytest.mark.parametrize("kept, known", [({}, None), ({"_name_or_path": "acme/tiny"}, "acme/tiny"), ({"_name_or_path": "/home/me/tiny"}, None)])
def test_a_folder_has_the_hub_id_that_its_config_keeps(tmp_path, kept, known):
    folder = conftest.write_model(tmp_path / "m", "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **kept}))
    assert open_model(str(folder), tmp_path).hub_id == known


@pytest.mark.parametrize("changes", [{"attention_bias": True}, {"rope_parameters": {"rope_theta": 5e3, "rope_type": "linear", "factor": 2.0}, "rope_scaling": {"type": "linear", "factor": 2.0}}])
def test_other_llama_shapes_run_in_mlx(tmp_path, changes):
    folder = conftest.write_model(tmp_path / "m", "llama", **changes)
    assert builders.opened(folder)[1].name == "mlx"
    with pytest.raises(WorkerError) as caught:
        builders.opened(folder, "cpu_llama")
    assert caught.value.code == "ENGINE_UNSUITABLE" and str(folder) in caught.value.message


def test_open_engine_names_the_engines_that_there_are(llama_folder):
    with pytest.raises(WorkerError) as caught:
        builders.opened(llama_folder, "cuda")
    assert (caught.value.code, caught.value.hint) == ("ENGINE_UNSUITABLE", "Engines of this environment: cpu_llama, mlx.")


@pytest.mark.parametrize("name", ["cpu_llama", "mlx"])
def test_lora_create_chooses_layers_and_modules(llama_folder, name):
    linears = builders.opened(llama_folder, name)[1].linears
    adapter = lora.create(linears, 4, LoraConfig(rank=2, last_layers=1, target_modules=("q_proj", "down_proj")), 0)
    assert sorted(adapter.shapes) == ["model.layers.3.mlp.down_proj", "model.layers.3.self_attn.q_proj"]
    assert adapter.first_layer == 3 and adapter.size == 2 * (32 + 32) + 2 * (48 + 32)
    with pytest.raises(WorkerError) as caught:
        lora.create(linears, 4, LoraConfig(target_modules=("c_attn",)), 0)
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "LORA_NO_TARGET",
        "No linear map of the model matches target_modules ('c_attn',).",
        'Use "all-linear", or names that the model has: down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj.',
    )


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
        open_model(str(tmp_path / "m"), tmp_path)
    assert caught.value.code == code and caught.value.hint


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("config.json", "{,", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("config.json", "[]", "it holds no JSON object"),
        ("tokenizer_config.json", "7", "it holds no JSON object"),
        ("tokenizer.json", "{", "EOF while parsing an object at line 1 column 1"),
    ],
)
def test_load_says_which_file_is_damaged(llama_folder, tmp_path, file, text, reason):
    folder = shutil.copytree(llama_folder, tmp_path / "m")
    (folder / file).write_text(text)
    with pytest.raises(WorkerError) as caught:
        open_model(str(folder), tmp_path)
    assert caught.value.to_json() == {
        "code": "MODEL_DAMAGED",
        "message": f"Cannot read {folder / file}: {reason}.",
        "hint": "Download the model again, or save it again with save_pretrained.",
    }


def test_load_refuses_a_folder_without_any_tokenizer(llama_folder, tmp_path):
    folder = shutil.copytree(llama_folder, tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink(missing_ok=True)
    with pytest.raises(WorkerError) as caught:
        open_model(str(folder), tmp_path)
    assert caught.value.code == "MODEL_INCOMPLETE"
    assert caught.value.message.startswith(f"The model {str(folder)!r} has no tokenizer.json, and none could be made: ")


def test_lora_create_warns_of_names_that_match_nothing(llama_folder, caplog):
    linears = builders.opened(llama_folder, "mlx")[1].linears
    lora.create(linears, 4, LoraConfig(target_modules=("q_proj", "k_porj")), 0)
    assert [record.getMessage() for record in caplog.records] == [
        "No linear map of the model matches 'k_porj' of target_modules."
    ]


def test_load_refuses_an_unknown_architecture(llama_folder, tmp_path):
    shutil.copytree(llama_folder, tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "model_type": "zzz"}))
    with pytest.raises(WorkerError) as caught:
        builders.opened(tmp_path / "m")
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
    files = open_model("acme/tiny", tmp_path)
    engine = open_engine(files)
    assert engine.name == "cpu_llama" and files.path.is_relative_to(tmp_path / "hub")
    assert files.hub_id == "acme/tiny"
    expected = ops.logits(builders.opened(llama_folder)[1].weights, np.arange(9))
    assert np.array_equal(ops.logits(engine.weights, np.arange(9)), expected)


def test_load_says_when_the_hub_has_no_such_model(endpoint, tmp_path):
    with pytest.raises(WorkerError) as caught:
        open_model("acme/none", tmp_path)
    assert caught.value.code == "MODEL_NOT_FOUND"


def test_load_says_when_the_hub_cannot_be_reached(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WorkerError) as caught:
        hub.resolve("acme/tiny", tmp_path)
    assert caught.value.code == "MODEL_DOWNLOAD_FAILED" and "HF_ENDPOINT" in caught.value.hint


@pytest.fixture(scope="module")
def built_in():
    if not (pathlib.Path(BUILT_IN_CACHE) / BUILT_IN).is_dir():
        pytest.skip(f"the built-in model is not in {BUILT_IN_CACHE} (set HONE_MODEL_CACHE)")
    return open_model(BUILT_IN, BUILT_IN_CACHE)


def test_built_in_model_speaks(built_in):
    weights = open_engine(built_in).weights
    text = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    ids = built_in.encode(text)
    assert built_in.decode(ids) == text and ids[0] == 1 and built_in.eos_token_ids == [2]
    assert built_in.hub_id == "HuggingFaceTB/SmolLM2-135M-Instruct"
    for _ in range(8):
        ids.append(int(ops.logits(weights, np.array(ids))[-1].argmax()))
    assert built_in.decode(ids).endswith("The capital of France is Paris.<|im_end|>")


def test_built_in_logits_equal_those_of_mlx_lm(built_in):
    # Two implementations: mlx-lm's module and the plain NumPy forward. A rotary base of 10000,
    # which mlx-lm would silently take, puts the logits 4 apart.
    module = open_engine(built_in, "mlx").module
    ids = np.array(built_in.encode("The tools are: read_file, write_file. Answer in JSON: {\"name\":"))
    theirs = np.array(module(mx.array(ids[None]))[0])
    assert np.abs(ops.logits(from_mlx.take_weights(module, built_in.config, 64), ids) - theirs).max() < 1e-3
    module.args.rope_theta = 10000.0
    wrong = from_mlx.take_weights(module, built_in.config, 64)
    assert np.abs(ops.logits(wrong, ids) - theirs).max() > 1
    assert not from_mlx.agrees(wrong, module)


def test_built_in_tokenizer_splits_digits_and_round_trips(built_in):
    text = "Order 1234: café, naïve — 東京 🚀\n\ttabs"
    ids = built_in.encode(text)
    assert built_in.decode(ids) == text
    assert [built_in.decode([i]) for i in built_in.encode("1234")] == list("1234")


def test_require_context_refuses_more_than_the_model_reads(llama_folder, tmp_path):
    files = open_model(str(llama_folder), tmp_path, 4096)
    with pytest.raises(WorkerError) as caught:
        require_context(files, 4096)
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "CONTEXT_TOO_LONG",
        f"context_tokens is 4096; {str(llama_folder)!r} reads at most 512 tokens.",
        "Set context_tokens to 512 or less, or leave it out.",
    )
    for allowed in (None, 512, 100):
        require_context(open_model(str(llama_folder), tmp_path, allowed), allowed)


def test_yarn_stretches_the_context_for_whoever_asks(llama_folder, tmp_path):
    shutil.copytree(llama_folder, tmp_path / "long")
    config = json.loads((llama_folder / "config.json").read_text())
    config["rope_scaling"] = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
    (tmp_path / "long" / "config.json").write_text(json.dumps(config))
    found = [open_model(str(tmp_path / "long"), tmp_path, wanted).context_tokens for wanted in (None, 1024, 9999)]
    assert found == [512, 1024, 2048]
