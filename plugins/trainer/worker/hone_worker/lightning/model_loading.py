"""Weights into the module that transformers has for their architecture, frozen, on the device they are trained on.

Errors: WorkerError MODEL_UNSUPPORTED for an architecture that transformers does not know, or weights that do not fit
it; CONFIG_INVALID for 4-bit weights without CUDA.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import transformers

from hone_worker.errors import WorkerError
from hone_worker.lightning import frozen_linear
from hone_worker.lightning.lightning_config import LightningConfig
from hone_worker.loading.model_files import ModelFiles

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def device() -> torch.device:
    """Where this process computes: the CUDA device of its rank on the node, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def load_frozen(files: ModelFiles, config: LightningConfig, place: torch.device) -> torch.nn.Module:
    """The module of ``files`` for causal language modelling at ``place``, in eval mode, without gradients."""
    dtype = dtype_of(config.precision, device())
    settings: dict[str, Any] = {"dtype": dtype}
    if config.quantize == "4bit":
        settings["quantization_config"] = _four_bits(place, dtype)
        settings["device_map"] = {"": place}
    try:
        module = _from_weights(files, dtype) if files.weights else _from_folder(files, settings)
    except WorkerError:
        raise
    except Exception as error:  # whatever transformers, safetensors and quantisers make of damaged files
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise WorkerError(
            "MODEL_UNSUPPORTED",
            f"Cannot load {files.id!r}: {_reason(error)}.",
            "Choose an architecture that transformers knows, with undamaged weights that fit its config.json.",
        ) from error
    module.requires_grad_(False).eval()
    frozen_linear.use_onednn(module)
    return module if config.quantize else module.to(place)


def dtype_of(precision: str, place: torch.device) -> torch.dtype:
    """What ``LightningConfig.precision`` means at ``place``."""
    if precision != "auto":
        return _DTYPES[precision]
    if place.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _four_bits(place: torch.device, dtype: torch.dtype) -> Any:
    if place.type != "cuda":
        raise WorkerError(
            "CONFIG_INVALID",
            "4-bit weights need CUDA, and torch finds no CUDA device.",
            "Leave quantize out, or train on a machine with an NVIDIA GPU.",
        )
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _reason(error: Exception) -> str:
    """The first paragraph of a library's message, in one line."""
    text = " ".join(str(error).strip().split("\n\n")[0].split()).rstrip(".")
    if "ignore_mismatched_sizes" in text:
        return "its weights have other shapes than its config.json says"
    return text[:400] if text and isinstance(error, (ValueError, OSError, ImportError)) else (
        f"{type(error).__name__}: {text[:400]}".rstrip(": "))


def _from_folder(files: ModelFiles, settings: dict[str, Any]) -> torch.nn.Module:
    if (files.path / "adapter_config.json").is_file():
        raise WorkerError(
            "MODEL_UNSUPPORTED",
            f"Cannot load {files.id!r}: {files.path} also holds an adapter (adapter_config.json), for which transformers "
            "would load another model.",
            "Give the base model's own folder.",
        )
    # No pickles, and no code that comes with a model.
    return transformers.AutoModelForCausalLM.from_pretrained(
        str(files.path), local_files_only=True, use_safetensors=True, trust_remote_code=False, **settings)


def _from_weights(files: ModelFiles, dtype: torch.dtype) -> torch.nn.Module:
    assert files.weights is not None
    settings = {key: value for key, value in files.config.items() if key not in ("model_type", "torch_dtype")}
    config = transformers.AutoConfig.for_model(files.config["model_type"], **settings)
    module = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    found = module.load_state_dict({name: torch.from_numpy(value) for name, value in files.weights()}, strict=False)
    module.tie_weights()
    tied = set(module.all_tied_weights_keys) if config.tie_word_embeddings else set()
    missing = sorted(set(found.missing_keys) - tied) + sorted(found.unexpected_keys)
    if missing:
        raise ValueError(f"{missing[0]} is not in both the file and the architecture")
    return module
