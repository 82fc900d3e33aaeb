"""The MLX worker's methods: one model, its adapter, its trainer and its endpoint in one process.

``Worker.methods`` maps protocol methods to functions from params to result. Requests come one at
a time; the endpoint answers on its own threads and waits while a step runs. With
``reuse_sampled_states`` in ``init``, training takes what the sampler computed below the first
adapted layer instead of computing it again: faster steps, whose last bits then depend on what
this process sampled. Errors are WorkerErrors: NOT_INITIALISED, ALREADY_INITIALISED,
PARAMS_INVALID, NOT_SERVING, ALREADY_SERVING, and those of the parts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from hone_worker import __version__
from hone_worker import mlx as backend
from hone_worker.config import LoraConfig, LossConfig, OptimConfig
from hone_worker.errors import WorkerError
from hone_worker.mlx import adapter as adapters
from hone_worker.mlx import lora, model
from hone_worker.mlx.chat import ChatService, model_name
from hone_worker.mlx.decode import LlamaDecoder
from hone_worker.mlx.decode_module import ModuleDecoder
from hone_worker.mlx.hidden import HiddenStore
from hone_worker.mlx.sampler import Sampler
from hone_worker.mlx.server import Endpoint
from hone_worker.mlx.template import ChatTemplate, demonstrate, special_tokens
from hone_worker.mlx.train import Trainer
from hone_worker.protocol import PROTOCOL_VERSION, Channel, Handler
from hone_worker.trajectory import read_batch

# Beyond this mean difference of logprobs the rows are hardly on-policy any more.
MISMATCH_WARNING = 0.02

Params = dict[str, Any]


@dataclass
class _State:
    """What ``init`` makes."""

    model: model.LoadedModel
    adapter: lora.Lora
    trainer: Trainer
    template: ChatTemplate
    decoder: LlamaDecoder | ModuleDecoder
    seed: int
    served: dict[str, Any] | None = None
    sampler: Sampler | None = None
    endpoint: Endpoint | None = None


class Worker:
    """Holds the state between requests; not thread-safe."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._made: _State | None = None

    def methods(self) -> dict[str, Handler]:
        return {
            "hello": self.hello,
            "init": self.init,
            "serve": self.serve,
            "render": self.render,
            "demonstrate": self.demonstrate,
            "supervise": self.supervise,
            "train_step": self.train_step,
            "publish": self.publish,
            "logprobs": self.logprobs,
            "save": self.save,
            "export": self.export,
            "shutdown": self.shutdown,
        }

    def close(self) -> None:
        if self._made is not None and self._made.endpoint is not None:
            self._made.endpoint.close()

    def hello(self, _: Params) -> Params:
        import mlx.core as mx

        return {
            "protocol": PROTOCOL_VERSION,
            "version": __version__,
            "backend": "mlx",
            "device": "cpu" if mx.default_device() == mx.Device(mx.cpu) else "gpu",
            "python": platform.python_version(),
            "mlx": metadata.version("mlx"),
            "blas": backend.BLAS_PATH,
            "cores": os.cpu_count(),
        }

    def init(self, params: Params) -> Params:
        if self._made is not None:
            raise WorkerError("ALREADY_INITIALISED", "The worker already holds a model.", "Start another worker.")
        lora_config = LoraConfig.from_json(params.get("lora"))
        optim_config = OptimConfig.from_json(params.get("optimizer"))
        seed = _want(params, "seed", int, 0)
        reference, cache = _want(params, "model", str), _want(params, "cache_dir", str)
        self._channel.event("progress", stage="model", message=f"loading {reference}")
        loaded = model.load(reference, cache, params.get("context_tokens"))
        template = ChatTemplate(
            loaded.chat_template, loaded.encode, loaded.decode, loaded.eos_token_ids,
            special_tokens(loaded.path) if loaded.path.is_dir() else None,
        )
        adapter = lora.create(loaded.module, lora_config, seed)
        trainer = Trainer(loaded, adapter, optim_config, seed)
        if params.get("resume_dir"):
            adapters.resume(trainer, _want(params, "resume_dir", str))
        decoder = LlamaDecoder(loaded.fast) if loaded.fast else ModuleDecoder(loaded.module)
        if _want(params, "reuse_sampled_states", bool, False) and loaded.fast and adapter.first_layer > 0:
            trainer.engine.hidden = decoder.states = HiddenStore(adapter.first_layer, loaded.fast.hidden)
        _trim()
        self._made = _State(loaded, adapter, trainer, template, decoder, seed)
        return {
            "model": {
                "id": loaded.id,
                "path": str(loaded.path),
                "architecture": loaded.config.get("model_type"),
                "layers": len(loaded.module.layers),
                "hidden_size": loaded.config.get("hidden_size"),
                "vocab_size": loaded.config.get("vocab_size"),
                "parameters": loaded.parameters,
                "trainable_parameters": adapter.size,
                "context_tokens": loaded.context_tokens,
                "eos_token_ids": loaded.eos_token_ids,
                "renders_tools": template.renders_tools(),
                "tool_format": template.tool_format(),
                "template_sha256": template.sha256,
                "fast_path": loaded.fast is not None,
            },
            "step": trainer.step,
        }

    def serve(self, params: Params) -> Params:
        made = self._state()
        token = _want(params, "token", str)
        if not token:
            raise WorkerError("PARAMS_INVALID", "token is empty.", "Give a secret of at least one character.")
        if made.endpoint is not None:
            raise WorkerError("ALREADY_SERVING", "The endpoint is already up.", "Use the base_url of the first call.")
        rows = _want(params, "max_concurrency", int, 64)
        sampler = Sampler(made.decoder, made.template.decode, made.model.eos_token_ids, max(1, rows))
        sampler.publish(0, made.served, made.adapter.config.scale)
        endpoint = Endpoint(ChatService(made.template, sampler, made.model.context_tokens, made.seed), token)
        url = endpoint.start(_want(params, "host", str, "127.0.0.1"), _want(params, "port", int, 0))
        made.sampler, made.endpoint = sampler, endpoint
        return {"base_url": url}

    def render(self, params: Params) -> Params:
        made = self._state()
        text = made.template.text(
            _want(params, "messages", list), params.get("tools"), _want(params, "add_generation_prompt", bool, True))
        return {"token_ids": made.template.encode(text), "text": text}

    def demonstrate(self, params: Params) -> Params:
        made = self._state()
        return {"conversations": [
            {"id": one.get("id"), "turns": demonstrate(made.template, _want(one, "messages", list), one.get("tools"))}
            for one in _want(params, "conversations", list)
        ]}

    def supervise(self, params: Params) -> Params:
        made, step = self._state(), _want(params, "step", int)
        path, rate = _want(params, "batch", str), params.get("learning_rate")
        return self._alone(lambda: made.trainer.supervise(step, read_batch(path), rate), forget=True)

    def train_step(self, params: Params) -> Params:
        made, step = self._state(), _want(params, "step", int)
        config = LossConfig.from_json(params.get("loss"))
        path, rate = _want(params, "batch", str), params.get("learning_rate")
        result = self._alone(lambda: made.trainer.train_step(step, read_batch(path), config, rate), forget=True)
        mismatch = result.get("mismatch_abs") or 0.0
        if mismatch > MISMATCH_WARNING:
            self._channel.event(
                "warning", code="OFF_POLICY",
                message=f"Step {step}: sampler and trainer differ by {mismatch:.3g} per token in log-probability.")
        return result

    def logprobs(self, params: Params) -> Params:
        made, path = self._state(), _want(params, "batch", str)
        return self._alone(lambda: made.trainer.logprobs(read_batch(path)))

    def publish(self, params: Params) -> Params:
        made, version, folder = self._state(), _want(params, "version", int), params.get("dir")
        if made.sampler is None:
            raise WorkerError("NOT_SERVING", f"Version {version} cannot be published.", "Call serve first.")
        if folder is not None:
            weights = dict(adapters.load_peft(folder, made.adapter))
        else:
            weights = dict(made.adapter.params) if version != 0 else None
        made.served = weights
        made.sampler.publish(version, weights, made.adapter.config.scale)
        return {"version": version, "model": model_name(version)}

    def save(self, params: Params) -> Params:
        made, folder = self._state(), _want(params, "dir", str)
        return adapters.save(made.trainer, folder)

    def export(self, params: Params) -> Params:
        made, folder = self._state(), _want(params, "dir", str)
        form, source = _want(params, "format", str, "peft"), params.get("source")
        latest = made.adapter.params
        if source is not None:  # an earlier checkpoint, the one that validation chose
            made.adapter.params = dict(adapters.load_peft(source, made.adapter))
        try:
            return self._alone(lambda: adapters.export(made.trainer, folder, form))
        finally:
            made.adapter.params = latest

    def shutdown(self, _: Params) -> Params:
        self.close()
        return {}

    def _state(self) -> _State:
        if self._made is None:
            raise WorkerError("NOT_INITIALISED", "The worker holds no model yet.", "Call init first.")
        return self._made

    def _alone(self, work: Callable[[], Params], forget: bool = False) -> Params:
        """Runs ``work`` while no token is sampled, then gives the sampler its weights back.

        ``forget`` first frees idle rollouts: after a step comes another policy, for which their
        keys and values are void.
        """
        made = self._state()
        if made.sampler is None:
            return work()
        with made.sampler.paused():
            if forget:
                made.sampler.forget()
                _trim()
            try:
                return work()
            finally:
                _trim()
                if made.model.fast is None:  # the trainer set its own adapter in the same module
                    made.decoder.load(made.served, made.adapter.config.scale)


def _trim() -> None:
    """Gives freed memory back to the system; glibc keeps it otherwise, and sampling and training
    would each hold their own peak."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


_MISSING = object()


def _want(params: Params, name: str, kind: type, default: Any = _MISSING) -> Any:
    value = params.get(name, None)
    if value is None and default is not _MISSING:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise WorkerError("PARAMS_INVALID", f"{name} is {value!r}; {_KINDS[kind]} is wanted.")
    return value


_KINDS = {int: "a whole number", str: "text", list: "a list", bool: "true or false"}
