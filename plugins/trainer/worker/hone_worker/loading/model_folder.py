"""A model as the folder that transformers and vLLM read, whatever it was opened from."""

from __future__ import annotations

import json
import pathlib

from safetensors.numpy import save_file

from hone_worker.checkpoint import replace_folder
from hone_worker.loading.model_files import ModelFiles


def model_folder(files: ModelFiles, cache_dir: str | pathlib.Path) -> pathlib.Path:
    """The folder of ``files``: its own, or one written once below ``cache_dir``, with the weights in fp32."""
    if files.weights is None:
        return files.path
    target = pathlib.Path(cache_dir).expanduser() / f"{files.id}-folder"
    if not (target / "config.json").is_file():
        replace_folder(target, lambda aside: _write(files, aside))
    return target


def _write(files: ModelFiles, folder: pathlib.Path) -> None:
    assert files.weights is not None
    save_file(dict(files.weights()), folder / "model.safetensors", metadata={"format": "pt"})
    files.tokenizer.save(str(folder / "tokenizer.json"))
    eos = files.tokenizer.id_to_token(files.eos_token_ids[0])
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": files.chat_template,
        "eos_token": eos,
        "model_max_length": files.config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        **files.special_tokens,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    (folder / "config.json").write_text(json.dumps(files.config, indent=2))
