"""A frozen model of transformers with PEFT's LoRA: which adapter it computes with, and its numbers in and out.

The trained numbers are PEFT's adapter "default". Whoever computes with others (an older policy, a moved copy) gets a
second adapter, which is made when first needed and never trained; the base model is both switched off. Names are
hone's: ``<path>.lora_a`` (in, r) and ``<path>.lora_b`` (r, out), the transposes of PEFT's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import peft
import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from hone_worker.errors import WorkerError
from hone_worker.lightning import tree_attention
from hone_worker.lightning.low_rank import InPlace
from hone_worker.lora import Adapter, Params, layer_of
from hone_worker.packing import pack
from hone_worker.rows import Row

_TRAINED, _OTHER = "default", "other"
# Longest row where nothing limits what a token sees.
_UNLIMITED = 1 << 40
# Ids of the check: two rows of so many, which share the first two thirds.
_CHECKED = 48


class AdaptedModel:
    """module: transformers' model with its head; trunk: the part below the head; head_is_linear: whether the logits
    are nothing but the head's linear map of the trunk's states; window: rows of at most so many tokens may be computed
    by ``tree_attention``'s passes, 0 where the model needs its own attention."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.trunk = module, module.base_model
        self.head = module.get_output_embeddings()
        self.device, self.dtype = self.head.weight.device, self.head.weight.dtype
        self.linears = {
            path: (part.in_features, part.out_features)
            for path, part in module.named_modules()
            if isinstance(part, nn.Linear) and layer_of(path) >= 0
        }
        self.adapter: Adapter | None = None
        self._loras: dict[str, LoraLayer] = {}
        self._library_attention = module.config._attn_implementation
        # By identity: what each of PEFT's adapters holds.
        self._held: dict[str, Params] = {}
        self._used: str | None = None
        self._layers = [
            (layer_of(f"{path}."), part)
            for path, part in module.named_modules()
            if isinstance(part, GradientCheckpointingLayer)
        ]
        if self._layers and module.supports_gradient_checkpointing:
            module.activation_checkpointing_enable({"use_reentrant": False})
        tree_attention.install()
        self.head_is_linear, self.window = self._check()

    # The adapter.

    def attach(self, adapter: Adapter, spare: bool = False) -> None:
        """Puts LoRA at the adapter's places; the model computes with its numbers from now on. ``spare``: makes the
        second adapter at once, because PEFT cannot when the model is sharded."""
        self.adapter = adapter
        self._inject(_TRAINED, adapter.config.dropout)
        self._loras = {path: self.module.get_submodule(path) for path in adapter.shapes}
        if spare:
            self._inject(_OTHER, 0.0)
            self._fill(_OTHER, dict(adapter.params))
        self.upload(adapter.params)

    def _inject(self, name: str, dropout: float) -> None:
        assert self.adapter is not None
        config = peft.LoraConfig(
            r=self.adapter.config.rank,
            lora_alpha=self.adapter.config.alpha,
            lora_dropout=dropout,
            target_modules=list(self.adapter.shapes),
        )
        with warnings.catch_warnings():
            # That there are two adapters.
            warnings.simplefilter("ignore", UserWarning)
            peft.inject_adapter_in_model(config, self.module, name)
        for path in self.adapter.shapes:
            layer = self.module.get_submodule(path)
            for part in (layer.lora_A[name], layer.lora_B[name]):
                part.to(device=self.device, dtype=torch.float32)
            layer.lora_variant[name], layer.cast_input_dtype_enabled = InPlace(), False

    def parameters(self) -> dict[str, nn.Parameter]:
        """The trained parameters by hone's names, in PEFT's orientation."""
        return dict(self._weights(_TRAINED))

    def _weights(self, name: str) -> Iterator[tuple[str, nn.Parameter]]:
        for path, layer in self._loras.items():
            yield f"{path}.lora_a", layer.lora_A[name].weight
            yield f"{path}.lora_b", layer.lora_B[name].weight

    def upload(self, params: Params) -> None:
        """Makes ``params`` the trained numbers, unless they are already."""
        self._fill(_TRAINED, params)
        self.use(params)

    def _fill(self, name: str, params: Params) -> None:
        if self._held.get(name) is params:
            return
        with torch.no_grad():
            for key, weight in self._weights(name):
                weight.copy_(torch.from_numpy(np.ascontiguousarray(params[key].T)))
        self._held[name] = params

    def download(self) -> dict[str, np.ndarray]:
        """The trained numbers after an update; the model knows them, so that ``upload`` of them costs nothing."""
        params = {name: numpy_of(weight) for name, weight in self._weights(_TRAINED)}
        self._held[_TRAINED] = params
        return params

    def use(self, params: Params | None) -> str | None:
        """Which adapter the next forwards compute with (None: the base model). Answers PEFT's name of it."""
        if params is None or self.adapter is None:
            self._switch(None)
            return None
        name = _TRAINED if self._held.get(_TRAINED) is params else _OTHER
        if name == _OTHER:
            if _OTHER not in self._held:
                self._inject(_OTHER, 0.0)
            self._fill(_OTHER, params)
        self._switch(name)
        return name

    def _switch(self, name: str | None) -> None:
        if name == self._used:
            return
        for layer in self._loras.values():
            layer.enable_adapters(name is not None)
            if name is not None:
                layer.set_adapter(name)
        self._used = name

    def gradients(self, name: str) -> dict[str, np.ndarray]:
        """What backward passes added up in the adapter ``name`` of PEFT, by hone's names."""
        return {
            key: np.zeros(weight.shape[::-1], np.float32) if weight.grad is None else numpy_of(weight.grad)
            for key, weight in self._weights(name)
        }

    def forget_gradients(self, name: str) -> None:
        """Sets them to none."""
        for _, weight in self._weights(name):
            weight.grad = None

    # Forward passes.

    def recompute(self, wanted: bool) -> None:
        """Whether the next backwards compute layers again instead of keeping what they made."""
        first = self.adapter.first_layer if self.adapter else 0
        for number, layer in self._layers:
            layer.gradient_checkpointing = wanted and number >= first
            # transformers looks at both; of the layer's parts nothing changes.
            layer.training = wanted

    def states(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        hone_pass: tree_attention.Pass | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Hidden states below the head (rows, T, hidden) of ids and positions (rows, T); ``hone_pass``: what computes
        the attention, the library's own with ``mask`` (rows, T) where it is None."""
        return self._forward(self.trunk, ids, positions, hone_pass, mask).last_hidden_state

    def logits(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        hone_pass: tree_attention.Pass | None = None,
        mask: torch.Tensor | None = None,
        keep: torch.Tensor | int = 0,
        cache: Any = None,
    ) -> torch.Tensor:
        """The model's own logits (rows, kept, vocab) after the positions ``keep`` (all when 0); ``cache``: of
        transformers, with what lies before."""
        more = {} if cache is None else {"cache": cache}
        return self._forward(self.module, ids, positions, hone_pass, mask, logits_to_keep=keep, **more).logits

    @torch.no_grad()
    def reference_logprobs(self, ids: np.ndarray, params: Params | None) -> np.ndarray:
        """See ``engine.Engine.reference_logprobs``."""
        self.use(params)
        line = torch.as_tensor(ids, dtype=torch.long, device=self.device)[None]
        positions = torch.arange(len(ids), device=self.device)[None]
        logits = self.logits(line, positions)[0, :-1].float()
        return torch.log_softmax(logits, -1).gather(-1, line[0, 1:, None])[:, 0].cpu().numpy()

    def _forward(
        self,
        part: nn.Module,
        ids: torch.Tensor,
        positions: torch.Tensor,
        hone_pass: tree_attention.Pass | None,
        mask: torch.Tensor | None,
        **more: Any,
    ) -> Any:
        if hone_pass is not None:
            more["hone_pass"] = hone_pass
        self.module.config._attn_implementation = tree_attention.NAME if hone_pass else self._library_attention
        return part(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache="cache" in more, **more)

    @torch.no_grad()
    def _check(self) -> tuple[bool, int]:
        """Compares the head and the tree's attention with the model's own logits, on random ids."""
        size = self.head.weight.shape[0]
        ids = np.random.default_rng(0).integers(0, size, (2, _CHECKED)).astype(np.int32)
        ids[1, : _CHECKED * 2 // 3] = ids[0, : _CHECKED * 2 // 3]
        whole = torch.tensor(ids, dtype=torch.long, device=self.device)
        positions = torch.arange(_CHECKED, device=self.device).expand(2, -1)
        own = self.logits(whole, positions).float()
        if not bool(torch.isfinite(own).all()):
            raise WorkerError(
                "MODEL_UNSUPPORTED",
                f"The model answers random ids with logits that are not finite, in {str(self.dtype).removeprefix('torch.')}.",
                "Its weights are damaged, or need a wider precision: set precision to bf16 or fp32.",
            )
        tolerance = (1e-4 if self.dtype == torch.float32 else 5e-2) * float(own.abs().max())

        def same(logits: torch.Tensor, expected: torch.Tensor) -> bool:
            return float((logits.float() - expected).abs().max()) <= tolerance

        linear = same(self.head(self.states(whole, positions)), own)
        mask = np.ones(_CHECKED, bool)
        mask[0] = False
        rows = [Row("", "", 1.0, 1.0, line, mask, np.zeros(_CHECKED, np.float32)) for line in ids]
        tree = pack(rows)
        depths = tree_attention.depths(tree, self.device)
        line = torch.tensor(tree.ids, dtype=torch.long, device=self.device)[None]
        try:
            found = self.logits(line, depths, tree_attention.tree_pass(tree, self.device))[0]
        except (ValueError, TypeError, AttributeError, KeyError):
            return linear, 0
        count = (_CHECKED - 1) * 2
        shared = found[torch.as_tensor(tree.entries.state)]
        return linear, self._narrowest() if same(shared, own[:, :-1].reshape(count, -1)) else 0

    def _narrowest(self) -> int:
        """How many tokens back the model sees in all of its layers, as far as its configuration says."""
        config = self.module.config.get_text_config()
        if getattr(config, "use_sliding_window", True) is False:
            return _UNLIMITED
        limits = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
        return min((limit for limit in limits if limit), default=_UNLIMITED)


def numpy_of(value: torch.Tensor) -> np.ndarray:
    """A parameter or its gradient in hone's orientation, as an array of its own."""
    return np.ascontiguousarray(value.detach().float().cpu().numpy().T)
