"""Finds a model's files: a folder, or a model of a Hugging Face hub.

The hub is the one that ``HF_ENDPOINT`` names, if set; downloads land in ``cache_dir``. Errors
are WorkerErrors: MODEL_NOT_FOUND (no such folder or repository), MODEL_DOWNLOAD_FAILED (the hub
could not be reached or refused), MODEL_INCOMPLETE (a folder without config.json or weights).
"""

from __future__ import annotations

import os
import pathlib
import re
from typing import Any

from hone_worker.errors import WorkerError

# owner/name, or owner/name@revision.
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?$")
_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt"]


def resolve(reference: str, cache_dir: pathlib.Path) -> pathlib.Path:
    """The folder with config.json, tokenizer and safetensors of ``reference``.

    A hub id is ``owner/name`` or ``owner/name@revision``. A folder wins over a hub id.
    """
    folder = pathlib.Path(reference).expanduser()
    if folder.is_dir():
        return _checked(folder, reference)
    if reference.startswith((".", "/", "~")) or not HUB_ID.match(reference):
        raise WorkerError(
            "MODEL_NOT_FOUND",
            f"There is no model {reference!r}: no such folder, and it is not a hub id.",
            'Give "smollm2-135m", a folder with config.json and safetensors, or owner/name.',
        )
    return _checked(_download(reference, cache_dir), reference)


def hub_id(reference: str, config: dict[str, Any]) -> str | None:
    """The hub's name of a model that ``resolve`` found; for a folder, the name that its config.json keeps."""
    if not pathlib.Path(reference).expanduser().is_dir():
        return reference.partition("@")[0]
    name = config.get("_name_or_path")
    return name if isinstance(name, str) and HUB_ID.match(name) else None


def _download(reference: str, cache_dir: pathlib.Path) -> pathlib.Path:
    import huggingface_hub
    from huggingface_hub import errors

    repository, _, revision = reference.partition("@")
    try:
        found = huggingface_hub.snapshot_download(
            repository,
            revision=revision or None,
            cache_dir=str(cache_dir / "hub"),
            endpoint=os.environ.get("HF_ENDPOINT") or None,
            allow_patterns=_PATTERNS,
        )
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise WorkerError(
            "MODEL_NOT_FOUND",
            f"The hub has no model {reference!r} that this account may read.",
            "Check the name and the revision; for a gated model, accept its terms and set HF_TOKEN.",
        ) from error
    except Exception as error:
        raise WorkerError(
            "MODEL_DOWNLOAD_FAILED",
            f"Could not download {reference!r}: {_brief(error)}",
            "Check the network and HF_ENDPOINT, or download the model and give its folder.",
        ) from error
    return pathlib.Path(found)


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")


def _checked(folder: pathlib.Path, reference: str) -> pathlib.Path:
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any(folder.glob("model*.safetensors")):
        missing.append("model*.safetensors")
    if missing:
        raise WorkerError(
            "MODEL_INCOMPLETE",
            f"The model {reference!r} has no {' and no '.join(missing)} in {folder}.",
            "A model is a folder as transformers or mlx-lm save it.",
        )
    return folder
