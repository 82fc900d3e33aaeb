"""The worker's methods: one model, its adapter, its training and its endpoint in one process.

``Worker.methods`` maps protocol methods to functions from params to result. Requests come one at a time; the
endpoint answers on its own threads and waits while a step runs. With ``reuse_sampled_states`` in ``init``,
training takes what the sampler computed below the first adapted layer instead of computing it again (where the
engine can): faster steps, whose last bits then depend on what this process sampled. With ``fresh_optimizer`` (the
default), the first ``train_step`` begins with a new optimiser, moments and warm-up included.

``serve`` takes ``max_staleness`` n (default 0): requests may name any of the n versions before the served one
as well, so that rollouts which are under way when a version is published go on with its weights. A request
that was accepted before is finished by the weights that it began with; whatever comes later is answered by the
served ones. Every reply says which version spoke (``policy_version``). With ``vllm`` (see ``vllm_config``) the
endpoint hands its token ids to vLLM; without, the model that is trained answers.

Errors are WorkerErrors: NOT_INITIALISED, ALREADY_INITIALISED, PARAMS_INVALID, NOT_SERVING, ALREADY_SERVING, and
those of the parts.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import pathlib
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hone_worker import __version__, checkpoint, engine_choice, lora, step_figures, train
from hone_worker.chat_template import ChatTemplate, demonstrate
from hone_worker.checkpoint import TrainState
from hone_worker.config import LoraConfig, LossConfig, OptimConfig
from hone_worker.endpoint.chat_service import ChatService, model_name
from hone_worker.endpoint.http_server import Endpoint
from hone_worker.endpoint.sampler import CACHE_BYTES, Sampler
from hone_worker.engine import Engine, Learner
from hone_worker.errors import WorkerError
from hone_worker.export import export
from hone_worker.loading.model_files import ModelFiles, open_model, require_context
from hone_worker.loading.model_folder import model_folder
from hone_worker.protocol import PROTOCOL_VERSION, Channel, Handler
from hone_worker.rows import Trajectory, TurnRecord, read_batch, to_rows
from hone_worker.vllm.open_rollouts import Opened, Trained, open_rollouts
from hone_worker.vllm.vllm_config import VllmConfig
from hone_worker.vllm.vllm_sampler import VllmSampler

Params = dict[str, Any]


@dataclass
class _Made:
    """What ``init`` makes, and ``serve`` adds to."""

    files: ModelFiles
    engine: Engine
    state: TrainState
    template: ChatTemplate
    cache_dir: str
    sampler: Sampler | VllmSampler | None = None
    endpoint: Endpoint | None = None


class _Warnings(logging.Handler):
    """What a part of the worker warns of, as events."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.WARNING)
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        code = record.name.rpartition(".")[2].upper()
        self._channel.event("warning", code=code, message=record.getMessage())


class Worker:
    """Holds the state between requests; not thread-safe."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._made: _Made | None = None
        logging.getLogger("hone_worker").addHandler(_Warnings(channel))

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
        made, self._made = self._made, None
        if made is None:
            return
        if made.endpoint is not None:
            made.endpoint.close()
        if isinstance(made.sampler, VllmSampler):
            made.sampler.close()
        if isinstance(made.engine, Learner):
            made.engine.close()

    def hello(self, _: Params) -> Params:
        return {
            "protocol": PROTOCOL_VERSION,
            "version": __version__,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            **engine_choice.available(),
        }

    def init(self, params: Params) -> Params:
        if self._made is not None:
            raise WorkerError("ALREADY_INITIALISED", "The worker already holds a model.", "Start another worker.")
        lora_config = LoraConfig.from_json(params.get("lora"))
        optim_config = OptimConfig.from_json(params.get("optimizer"))
        seed = _want(params, "seed", int, 0)
        reference, cache = _want(params, "model", str), _want(params, "cache_dir", str)
        wanted, reuse = params.get("engine"), _want(params, "reuse_sampled_states", bool, False)
        self._channel.event("progress", stage="model", message=f"loading {reference}")
        files = open_model(reference, cache, params.get("context_tokens"))
        if "engine_options" in params:  # of trainer/lightning; trainer/mlx takes what the model has
            require_context(files, params.get("context_tokens"))
        template = ChatTemplate(
            files.chat_template, files.encode, files.decode, files.eos_token_ids, files.special_tokens)
        engine = engine_choice.open_engine(files, wanted, reuse, params.get("engine_options"), lora_config)
        if lora_config.dropout > 0 and not isinstance(engine, Learner):
            raise WorkerError(
                "CONFIG_INVALID",
                f"The lora configuration has dropout {lora_config.dropout}; the engine {engine.name!r} has none.",
                "Set lora.dropout to 0, or train with trainer/lightning.",
            )
        adapter = lora.create(engine.linears, engine.layers, lora_config, seed)
        engine.adapt(adapter)
        fresh = _want(params, "fresh_optimizer", bool, True)
        adamw = train.new_optimizer(engine, optim_config)
        state = TrainState(files.hub_id or files.id, adapter, adamw, seed, fresh_optimizer=fresh)
        if params.get("resume_dir"):
            checkpoint.resume(state, _want(params, "resume_dir", str))
        _trim()
        self._made = _Made(files, engine, state, template, cache)
        return {"model": _facts(self._made), "step": state.step}

    def serve(self, params: Params) -> Params:
        made = self._state()
        token = _want(params, "token", str)
        if not token:
            raise WorkerError("PARAMS_INVALID", "token is empty.", "Give a secret of at least one character.")
        if made.endpoint is not None:
            raise WorkerError("ALREADY_SERVING", "The endpoint is already up.", "Use the base_url of the first call.")
        rows, staleness = _want(params, "max_concurrency", int, 64), _want(params, "max_staleness", int, 0)
        if staleness < 0:
            raise WorkerError("PARAMS_INVALID", f"max_staleness is {staleness}; it is 0 or more.")
        facts: Params = {}
        if params.get("vllm") is not None:
            opened = self._vllm(made, VllmConfig.from_json(_want(params, "vllm", dict)), staleness)
            made.sampler = opened.sampler
            facts["vllm"] = {
                "replicas": opened.replicas,
                "shares_gpu": opened.shares_gpu,
                "ready_secs": opened.ready_secs,
                "mismatch_abs": opened.mismatch_abs,
            }
        else:
            made.sampler = Sampler(
                made.engine.decoder(), made.template.decode, made.files.eos_token_ids, max(1, rows), staleness,
                _cache_bytes(made.engine))
        service = ChatService(made.template, made.sampler, made.files.context_tokens, made.state.seed)
        endpoint = Endpoint(service, token)
        url = endpoint.start(_want(params, "host", str, "127.0.0.1"), _want(params, "port", int, 0))
        made.endpoint = endpoint
        return {"base_url": url, **facts}

    def _vllm(self, made: _Made, config: VllmConfig, staleness: int) -> Opened:
        files, engine, state = made.files, made.engine, made.state

        def write(params: lora.Params, folder: pathlib.Path) -> None:
            published = replace(state, adapter=replace(state.adapter, params=dict(params)))
            checkpoint.write_peft(published, folder)

        trained = Trained(
            folder=lambda: model_folder(files, made.cache_dir),
            context_tokens=files.context_tokens,
            eos_ids=files.eos_token_ids,
            decode=made.template.decode,
            prompt=made.template.encode(made.template.text([{"role": "user", "content": "Hello"}], None, True)),
            rank=state.adapter.config.rank,
            params=state.adapter.params,
            write=write,
            reference=lambda prompt, ids: _base_logprobs(engine, prompt, ids),
            gpus=engine.gpus if isinstance(engine, Learner) else 0,
            free=engine.free_memory if isinstance(engine, Learner) else lambda: None,
            dtype=engine.dtype if isinstance(engine, Learner) else None,
        )
        return open_rollouts(
            config, trained, staleness,
            say=lambda message: self._channel.event("progress", stage="rollouts", message=message),
            warn=lambda code, message: self._channel.event("warning", code=code, message=message),
        )

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
        work = lambda: train.supervise(made.engine, made.state, step, read_batch(path), rate)  # noqa: E731
        return self._alone(work, forget=True)

    def train_step(self, params: Params) -> Params:
        made, step = self._state(), _want(params, "step", int)
        config = LossConfig.from_json(params.get("loss"))
        path, rate = _want(params, "batch", str), params.get("learning_rate")
        # Where rollouts may be older than the weights, those that are served when a step begins are the ones it trains.
        stale = made.sampler is not None and made.sampler.max_staleness > 0
        version = made.sampler.version if stale else None
        step_of = lambda: train.train_step(made.engine, made.state, step, read_batch(path), config, rate, version)  # noqa: E731
        report = self._alone(step_of, forget=True)
        mismatch = report.get("mismatch_abs_0" if stale else "mismatch_abs") or 0.0
        if mismatch > step_figures.MISMATCH_WARNING:
            self._channel.event(
                "warning", code="OFF_POLICY",
                message=f"Step {step}: sampler and trainer differ by {mismatch:.3g} per token in log-probability.")
        return report

    def logprobs(self, params: Params) -> Params:
        made, path = self._state(), _want(params, "batch", str)
        return self._alone(lambda: train.logprobs(made.engine, made.state, read_batch(path)))

    def publish(self, params: Params) -> Params:
        made, version, folder = self._state(), _want(params, "version", int), params.get("dir")
        if made.sampler is None:
            raise WorkerError("NOT_SERVING", f"Version {version} cannot be published.", "Call serve first.")
        adapter = made.state.adapter
        if folder is not None:
            weights = checkpoint.load_peft(folder, adapter, made.state.model)
        else:
            weights = adapter.params if version != 0 else None
        made.sampler.publish(version, weights)
        return {"version": version, "model": model_name(version)}

    def save(self, params: Params) -> Params:
        made, folder = self._state(), _want(params, "dir", str)
        return checkpoint.save(made.state, folder)

    def export(self, params: Params) -> Params:
        made, folder = self._state(), _want(params, "dir", str)
        form, source = _want(params, "format", str, "peft"), params.get("source")
        adapter = made.state.adapter
        latest = adapter.params
        if source is not None:  # an earlier checkpoint, the one that validation chose
            adapter.params = checkpoint.load_peft(source, adapter, made.state.model)
        try:
            return self._alone(lambda: export(made.engine, made.state, folder, form))
        finally:
            adapter.params = latest

    def shutdown(self, _: Params) -> Params:
        self.close()
        return {}

    def _state(self) -> _Made:
        if self._made is None:
            raise WorkerError("NOT_INITIALISED", "The worker holds no model yet.", "Call init first.")
        return self._made

    def _alone(self, work: Callable[[], Params], forget: bool = False) -> Params:
        """Runs ``work`` while no token is sampled; open requests wait and then go on.

        ``forget`` first frees idle rollouts: after a step comes another policy, for which their keys and values
        are void.
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


def _facts(made: _Made) -> Params:
    """What ``init`` says of the model."""
    files, engine, template = made.files, made.engine, made.template
    return {
        "id": files.id,
        "hub_id": files.hub_id,
        "path": str(files.path),
        "architecture": files.config.get("model_type"),
        "engine": engine.name,
        "device": engine.device,
        "layers": engine.layers,
        "hidden_size": files.config.get("hidden_size"),
        "vocab_size": engine.vocab_size,
        "parameters": engine.parameters,
        "trainable_parameters": made.state.adapter.size,
        "context_tokens": files.context_tokens,
        "eos_token_ids": files.eos_token_ids,
        "renders_tools": template.renders_tools(),
        "tool_format": template.tool_format(),
        "template_sha256": template.sha256,
    }


def _cache_bytes(engine: Engine) -> int:
    """Memory for the sampler's keys and values."""
    given = engine.cache_bytes() if isinstance(engine, Learner) else None
    return CACHE_BYTES if given is None else given


def _base_logprobs(engine: Engine, prompt: list[int], ids: list[int]) -> np.ndarray:
    """logp of an answer under the base model, as training computes it."""
    rows = to_rows([Trajectory("", "", 0, 1.0, 1.0, [TurnRecord(prompt, ids, None)])])
    return engine.run(engine.plan(rows), None).logp


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


_KINDS = {int: "a whole number", str: "text", list: "a list", bool: "true or false", dict: "an object"}
