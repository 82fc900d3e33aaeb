"""Continuous batching: one thread that advances every open request by a token a pass.

Requests join and leave the batch at any pass; prompts are read in chunks beside the rows that already decode.
A rollout's row stays in memory after its answer, so that its next turn reads only what is new; a prefix shared
by many prompts is computed once per policy. A request's randomness comes from its own seed and nothing else.

Weights change only between requests: ``publish`` drains, so that every answer is one policy's. Nothing runs
while the caller holds ``paused`` (a training step on the same cores); requests that come then wait, and none
ends because of it.
"""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hone_worker.endpoint.draw import Drawer
from hone_worker.engine import Decoder
from hone_worker.errors import WorkerError
from hone_worker.lora import Params

PREFILL_TOKENS = 512
MIN_PREFIX = 16
MAX_PREFIXES = 4
# Keys and values that are kept, where the engine names no other limit.
CACHE_BYTES = 768 * 1024 * 1024


@dataclass(frozen=True)
class Generation:
    """An answer. ids: sampled, an end token included; logprobs: of the distribution sampled from;
    text: without end token or stop string; finish_reason: stop or length; cached: prompt tokens
    that were not computed again; version: the policy."""

    ids: list[int]
    logprobs: list[float]
    text: str
    finish_reason: str
    cached: int
    version: int


@dataclass(eq=False)
class Job:
    """One request. ``done`` is called once, on the sampler's thread, with the answer or the error
    that ended it, unless ``gone`` says that nobody waits for it any more. ``version``: the policy
    that was asked for, None for whichever is served."""

    prompt: list[int]
    shared: list[int]
    max_tokens: int
    seed: int
    done: Callable[[Generation | Exception], None]
    gone: Callable[[], bool]
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    rollout: str | None = None
    version: int | None = None
    row: Any = None
    pending: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    cached: int = 0
    rng: np.random.Generator | None = None


def served_versions(version: int, max_staleness: int) -> list[int]:
    """The versions that a request may name: the served one, then those before it that it answers for."""
    return list(range(version, max(version - max_staleness, 0) - 1, -1))


def replaced(asked: int | None, version: int) -> WorkerError:
    """Why a request for a version that is not served any more gets no answer."""
    return WorkerError("POLICY_REPLACED", f"Policy {asked} was replaced by {version}.")


def failed(error: BaseException) -> WorkerError:
    """Why a request whose sampling went wrong gets no answer."""
    return WorkerError("SAMPLING_FAILED", f"Sampling failed: {type(error).__name__}: {error}")


class Sampler:
    """The batch, its thread, and the keys and values that outlive a request."""

    def __init__(
        self,
        decoder: Decoder,
        decode: Callable[[list[int]], str],
        eos_ids: list[int],
        max_rows: int = 64,
        max_staleness: int = 0,
        kv_bytes: int = CACHE_BYTES,
    ) -> None:
        self.version = 0
        self.max_staleness = max_staleness
        self.tokens = 0
        self._decoder, self._decode, self._eos = decoder, decode, frozenset(eos_ids)
        self._max_rows, self._kv_bytes = max_rows, kv_bytes
        self._waiting: deque[Job] = deque()
        self._later: deque[Job] = deque()
        self._active: list[Job] = []
        self._held: OrderedDict[str, tuple[list[int], Any]] = OrderedDict()
        self._prefixes: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self._changed = threading.Condition()
        self._compute = threading.Lock()
        self._pauses = 0
        self._draining = False
        self._drawer = Drawer()
        threading.Thread(target=self._run, name="sampler", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queues a request; its prompt and answer together must fit the model's context."""
        with self._changed:
            (self._later if self._draining else self._waiting).append(job)
            self._changed.notify_all()

    def forget(self) -> None:
        """Frees the keys and values of idle rollouts; their next turn reads everything again."""
        with self._changed:
            self._held.clear()

    def release(self, rollout: str) -> bool:
        """Forgets a rollout's keys and values; whether there were any."""
        with self._changed:
            return self._held.pop(rollout, None) is not None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, no pass runs; open requests go on afterwards."""
        with self._changed:
            self._pauses += 1
        try:
            with self._compute:
                yield
        finally:
            with self._changed:
                self._pauses -= 1
                self._changed.notify_all()

    def versions(self) -> list[int]:
        """The versions that a request may name: the served one, then those before it that it answers for."""
        return served_versions(self.version, self.max_staleness)

    def publish(self, version: int, params: Params | None) -> None:
        """Finishes the requests that were accepted before, then serves the new weights.

        A request that comes meanwhile waits; it ends with POLICY_REPLACED if the new version does not
        answer for the one that it names.
        """
        with self._changed:
            self._draining = True
            while self._active or self._waiting:
                self._changed.wait(0.5)
        try:
            with self._compute:
                self._decoder.load(params)
                self._held.clear()
                self._prefixes.clear()
                self.version = version
        finally:
            with self._changed:
                self._draining = False
                self._waiting, self._later = self._later, self._waiting
                self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._pauses or not (self._active or self._waiting):
                    self._changed.wait()
            with self._compute:
                try:
                    self._admit()
                    self._step()
                except Exception as error:  # the boundary: the requests fail, the thread lives
                    traceback.print_exc()
                    self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            ended, self._active = self._active, []
            self._held.clear()
            self._changed.notify_all()
        for job in ended:
            job.done(failed(error))

    def _admit(self) -> None:
        with self._changed:
            self._active = [job for job in self._active if not job.gone()]
            self._changed.notify_all()
        while len(self._active) < self._max_rows and (not self._active or self._has_room()):
            with self._changed:
                job = self._waiting.popleft() if self._waiting else None
                if job is None:
                    return
                fits = job.version is None or job.version in self.versions()
                if fits and not job.gone():
                    self._active.append(job)
            if job in self._active:
                self._open(job)
            elif not fits:
                job.done(replaced(job.version, self.version))

    def _has_room(self) -> bool:
        """Evicts idle rows, oldest first, down to the budget; whether that sufficed."""
        with self._changed:
            used = sum(job.row.bytes for job in self._active) + sum(row.bytes for _, row in self._held.values())
            while used > self._kv_bytes and self._held:
                used -= self._held.popitem(last=False)[1][1].bytes
            return used <= self._kv_bytes

    def _open(self, job: Job) -> None:
        """Finds or makes the row of a request and what it still has to read."""
        job.rng = np.random.default_rng(job.seed)
        with self._changed:
            known, row = self._held.pop(job.rollout, ([], None)) if job.rollout is not None else ([], None)
        if row is not None and len(known) < len(job.prompt) and job.prompt[: len(known)] == known:
            job.row, job.cached = row, len(known)
        else:
            prefix = self._prefix(tuple(job.shared)) if len(job.shared) >= MIN_PREFIX else None
            job.row, job.cached = self._decoder.row(prefix), len(job.shared) if prefix is not None else 0
        job.pending = job.prompt[job.cached :]

    def _prefix(self, ids: tuple[int, ...]) -> Any:
        if ids in self._prefixes:
            self._prefixes.move_to_end(ids)
        else:
            self._prefixes[ids] = self._decoder.prefix(ids)
            if len(self._prefixes) > MAX_PREFIXES:
                self._prefixes.popitem(last=False)
        return self._prefixes[ids]

    def _step(self) -> None:
        """One pass: a token for every row that decodes, a chunk for rows that still read."""
        jobs, new, room = [], [], PREFILL_TOKENS
        for job in self._active:
            count = len(job.pending) if len(job.pending) == 1 else min(len(job.pending), room)
            if count == 0:
                continue
            room -= count if len(job.pending) > 1 else 0
            jobs.append(job)
            new.append(job.pending[:count])
            job.pending = job.pending[count:]
        if not jobs:
            return
        wanted = [not job.pending for job in jobs]
        logits = self._decoder.forward([job.row for job in jobs], new, wanted)
        ready = [job for job, want in zip(jobs, wanted, strict=True) if want]
        if not ready:
            return
        tokens, logprobs = self._drawer.draw(logits, ready)
        self.tokens += len(ready)
        for job, token, logprob in zip(ready, tokens, logprobs, strict=True):
            job.ids.append(token)
            job.logprobs.append(logprob)
            job.pending = [token]
            self._maybe_finish(job)

    def _maybe_finish(self, job: Job) -> None:
        ended = job.ids[-1] in self._eos
        text = None
        if not ended and job.stop:
            text = self._decode(job.ids)
            found = [at for at in (text.find(stop) for stop in job.stop) if at >= 0]
            text = text[: min(found)] if found else None
        if not (ended or text is not None or len(job.ids) >= job.max_tokens):
            return
        reason = "stop" if ended or text is not None else "length"
        if text is None:
            text = self._decode(job.ids[:-1] if ended else job.ids)
        with self._changed:
            self._active.remove(job)
            if job.rollout is not None:
                # The last token was sampled but never read: it is not in the row yet.
                self._held[job.rollout] = (job.prompt + job.ids[:-1], job.row)
            self._changed.notify_all()
        job.done(Generation(job.ids, job.logprobs, text, reason, job.cached, self.version))
