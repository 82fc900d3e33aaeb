"""Models to compare on, as folders that both trainers read: random weights of real architectures, or SmolLM2-135M.

torch and transformers; runs before either trainer, in a process of its own:
``python model_folders.py NAME FOLDER DTYPE DEVICE CACHE``.
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

import torch  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config  # noqa: E402

from hone_worker.loading.built_in import BUILT_IN  # noqa: E402
from hone_worker.loading.model_files import open_model  # noqa: E402

# (hidden, intermediate, layers, heads, kv heads, head dim, vocabulary); the last three are Qwen3's own.
SHAPES = {
    "qwen3-22m": (384, 1024, 6, 6, 2, 64, 32768),
    "qwen3-0.6b": (1024, 3072, 28, 16, 8, 128, 151936),
    "qwen3-1.7b": (2048, 6144, 28, 16, 8, 128, 151936),
    "qwen3-4b": (2560, 9728, 36, 32, 8, 128, 151936),
}


def write(name: str, folder: pathlib.Path, dtype: str, device: str, cache: str, vocab: int | None = None) -> None:
    """Saves the model ``name`` with its tokenizer into ``folder``; ``vocab``: another vocabulary than its own."""
    if name == BUILT_IN:
        files = open_model(name, cache)
        model = AutoModelForCausalLM.from_config(LlamaConfig(**files.config), dtype=torch.float32)
        weights = {key: torch.from_numpy(value) for key, value in files.weights()}
        missing, unexpected = model.load_state_dict(weights, strict=False)
        if unexpected or set(missing) - {"lm_head.weight"}:
            raise SystemExit(f"the weights of {name} do not fit: {missing} {unexpected}")
        tokenizer, end = files.tokenizer, files.decode(files.eos_token_ids[:1])
    else:
        torch.manual_seed(0)
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(_config(name, vocab), dtype=getattr(torch, dtype))
        tokenizer, end = _tokenizer(), "</s>"
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}<assistant>"
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _config(name: str, vocab: int | None) -> Qwen3Config:
    hidden, inner, layers, heads, kv_heads, dim, size = SHAPES[name]
    return Qwen3Config(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=dim,
        vocab_size=vocab or size,
        max_position_embeddings=40960,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=True,
        eos_token_id=1,
        bos_token_id=None,
    )


def _tokenizer() -> Any:
    """Bytes; the models' larger vocabularies are reached by ids alone."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<unk>": 0, "</s>": 1, **{letter: i + 2 for i, letter in enumerate(alphabet)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return tokenizer


if __name__ == "__main__":
    name, folder, dtype, device, cache = sys.argv[1:6]
    write(name, pathlib.Path(folder), dtype, device, cache, int(sys.argv[6]) if len(sys.argv) > 6 else None)
