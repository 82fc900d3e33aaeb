"""What a model's files say apart from its weights: one value for every engine and for the endpoint.

``open_model`` takes the built-in model, a folder, or a hub id. Errors are WorkerErrors (see ``hub``,
``built_in`` and ``gguf``).
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from hone_worker.errors import WorkerError
from hone_worker.loading import built_in, hub
from hone_worker.loading.gguf import GgufFile

_MAX_CONTEXT = 32768
_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")


@dataclass(frozen=True)
class ModelFiles:
    """id: as asked for; hub_id: its name on the Hugging Face hub, if known; path: the folder or file read; config: as in config.json; special_tokens: what
    the chat template may name, by name; context_tokens: the longest sequence that the run allows;
    weights: reads them by their checkpoint names, in fp32; None where they are the safetensors of
    ``path``; cache: where what is downloaded lies."""

    id: str
    path: pathlib.Path
    config: dict[str, Any]
    tokenizer: Tokenizer
    eos_token_ids: list[int]
    chat_template: str
    special_tokens: dict[str, str]
    context_tokens: int
    weights: Callable[[], Iterator[tuple[str, np.ndarray]]] | None = None
    hub_id: str | None = None
    cache: pathlib.Path | None = None

    def encode(self, text: str) -> list[int]:
        """Token ids of rendered text; special tokens are recognised, none is added."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens written out."""
        return self.tokenizer.decode(ids, skip_special_tokens=False)


def open_model(reference: str, cache_dir: str | pathlib.Path, context_tokens: int | None = None) -> ModelFiles:
    """Finds ``reference`` ("smollm2-135m", a folder, or owner/name), downloading it below ``cache_dir``.

    ``context_tokens`` shortens the model's own context, or a limit of 32768.
    """
    cache = pathlib.Path(cache_dir).expanduser()
    if reference == built_in.BUILT_IN:
        files = _open_gguf(reference, built_in.fetch(cache), context_tokens)
    else:
        files = _open_folder(reference, hub.resolve(reference, cache), context_tokens)
    return replace(files, cache=cache)


def _open_gguf(reference: str, path: pathlib.Path, context_tokens: int | None) -> ModelFiles:
    file = GgufFile(path)
    return ModelFiles(
        id=reference,
        path=path,
        config=file.config,
        tokenizer=file.tokenizer(),
        eos_token_ids=file.eos_token_ids,
        chat_template=file.chat_template,
        special_tokens={},
        context_tokens=_context(file.config, context_tokens),
        weights=file.weights,
        hub_id=built_in.HUB_ID,
    )


def _open_folder(reference: str, folder: pathlib.Path, context_tokens: int | None) -> ModelFiles:
    config = _json(folder / "config.json")
    # transformers 5 nests the rotary base and its scaling, and not every reader of config.json looks there.
    rotary = config.get("rope_parameters") or {}
    if rotary.get("rope_theta") is not None:
        config.setdefault("rope_theta", rotary["rope_theta"])
    if rotary.get("rope_type", "default") != "default":
        config.setdefault("rope_scaling", {"type": rotary["rope_type"], **rotary})
    tokenizer = _tokenizer(folder, reference)
    settings = _json(folder / "tokenizer_config.json")
    return ModelFiles(
        id=reference,
        path=folder,
        config=config,
        tokenizer=tokenizer,
        eos_token_ids=_eos_ids(folder, config, settings, tokenizer),
        chat_template=_chat_template(folder, settings),
        special_tokens=_special_tokens(settings),
        context_tokens=_context(config, context_tokens),
        hub_id=hub.hub_id(reference, config),
    )


def _context(config: dict[str, Any], wanted: int | None) -> int:
    return min(wanted, _longest(config)) if wanted else min(_MAX_CONTEXT, _own_longest(config))


def _own_longest(config: dict[str, Any]) -> int:
    return int(config.get("max_position_embeddings") or 4096)


def _longest(config: dict[str, Any]) -> int:
    """YaRN stretches positions beyond those of the configuration, for whoever asks for that."""
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if rope.get("rope_type", rope.get("type")) != "yarn" or not rope.get("factor"):
        return _own_longest(config)
    return max(_own_longest(config), int(rope.get("original_max_position_embeddings", 0) * rope["factor"]))


def require_context(files: ModelFiles, wanted: int | None) -> None:
    """Raises WorkerError CONTEXT_TOO_LONG where the model reads less than ``wanted`` tokens."""
    if wanted is not None and wanted > files.context_tokens:
        raise WorkerError(
            "CONTEXT_TOO_LONG",
            f"context_tokens is {wanted}; {files.id!r} reads at most {files.context_tokens} tokens.",
            f"Set context_tokens to {files.context_tokens} or less, or leave it out.",
        )


def _tokenizer(folder: pathlib.Path, reference: str) -> Tokenizer:
    path = folder / "tokenizer.json"
    if path.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library has no class of its own
            raise _damaged(path, error) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    from transformers import AutoTokenizer

    try:
        made = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False).backend_tokenizer
        # Without any file of one, transformers makes one that knows no text.
        if not made.encode("hello").ids:
            raise ValueError("the folder has no tokenizer")
        return made
    except Exception as error:
        raise WorkerError(
            "MODEL_INCOMPLETE",
            f"The model {reference!r} has no tokenizer.json, and none could be made: {error}",
            "Save the tokenizer with transformers' save_pretrained into the folder.",
        ) from error


def _json(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise _damaged(path, error) from error
    if not isinstance(found, dict):
        raise _damaged(path, "it holds no JSON object")
    return found


def _damaged(path: pathlib.Path, reason: object) -> WorkerError:
    return WorkerError(
        "MODEL_DAMAGED",
        f"Cannot read {path}: {reason}.",
        "Download the model again, or save it again with save_pretrained.",
    )


def _chat_template(folder: pathlib.Path, settings: dict[str, Any]) -> str:
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text()
    template = settings.get("chat_template") or ""
    if isinstance(template, list):
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get("tool_use") or named.get("default") or ""
    return template


def _eos_ids(
    folder: pathlib.Path, config: dict[str, Any], settings: dict[str, Any], tokenizer: Tokenizer
) -> list[int]:
    found = _json(folder / "generation_config.json").get("eos_token_id", config.get("eos_token_id"))
    ids = list(found) if isinstance(found, list) else [] if found is None else [found]
    text = _text_of(settings.get("eos_token"))
    named = tokenizer.token_to_id(text) if text else None
    if named is not None and named not in ids:
        ids.insert(0, named)
    return ids


def _special_tokens(settings: dict[str, Any]) -> dict[str, str]:
    texts = {name: _text_of(settings.get(name)) for name in _SPECIAL}
    return {name: text for name, text in texts.items() if isinstance(text, str)}


def _text_of(token: Any) -> Any:
    return token.get("content") if isinstance(token, dict) else token
