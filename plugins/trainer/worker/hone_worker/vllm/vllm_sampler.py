"""Answers by vLLM in the place of ``endpoint.sampler.Sampler``: token ids in, token ids and log-probabilities out.

Each publication is a LoRA adapter under a name of its own: vLLM keeps keys and values by that name, so that one name
with other weights would answer from the old ones. Requests under way are finished by the weights that they began
with, while later ones are answered by the new; an adapter is unloaded when no request uses it any more.

Where training has the same GPU, ``paused`` lets open requests end and puts the servers to sleep. Elsewhere they
sample on while a step runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from hone_worker.endpoint.sampler import Generation, Job, failed, replaced, served_versions
from hone_worker.errors import WorkerError
from hone_worker.lora import Params
from hone_worker.vllm.replicas import Replica, Replicas, Warn
from hone_worker.vllm.vllm_api import Completion, Refused, Sampling

# A server that lives and breaks off a request is asked again, so often.
_TRIES = 3
_LOOK_SECS = 0.5
_IDLE_SECS = 0.02

T = TypeVar("T")


class VllmSampler:
    """Requests to the servers of a run, on a thread of their own.

    write: writes an adapter's numbers as a PEFT folder; folder: for these, readable by every server; shares_gpu:
    whether the servers must sleep while a step runs; free: gives back the GPU's memory that training holds unused.
    """

    def __init__(
        self,
        members: Sequence[Replica],
        decode: Callable[[list[int]], str],
        eos_ids: Sequence[int],
        max_staleness: int,
        write: Callable[[Params, pathlib.Path], None],
        folder: pathlib.Path,
        warn: Warn,
        shares_gpu: bool = False,
        free: Callable[[], None] = lambda: None,
    ) -> None:
        self.version = 0
        self.max_staleness = max_staleness
        self.tokens = 0
        self._decode, self._eos = decode, tuple(eos_ids)
        self._write, self._folder, self._shares_gpu, self._free = write, folder, shares_gpu, free
        self._replicas = Replicas(members, warn)
        self._run_id, self._loads = secrets.token_hex(4), 0
        self._adapter: str | None = None  # None: the base model
        self._in_use: Counter[str] = Counter()
        self._pauses = 0
        self._loop = asyncio.new_event_loop()
        self._awake = asyncio.Event()
        self._awake.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs ``work`` on the sampler's event loop and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def submit(self, job: Job) -> None:
        """Starts a request; its prompt and answer together must fit the servers' context."""
        asyncio.run_coroutine_threadsafe(self._answer(job), self._loop)

    def forget(self) -> None:
        """Nothing to do: vLLM keeps keys and values by adapter, and drops the oldest."""

    def release(self, rollout: str) -> bool:
        """Forgets which server a rollout is with; whether it was known."""

        async def work() -> bool:
            return self._replicas.release(rollout)

        return self.call(work())

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, no server uses a GPU that training uses; requests that come meanwhile wait."""
        if not self._shares_gpu:
            yield
            return
        self.call(self._sleep())
        try:
            yield
        finally:
            self._free()
            self.call(self._wake())

    def versions(self) -> list[int]:
        """The versions that a request may name: the served one, then those before it that it answers for."""
        return served_versions(self.version, self.max_staleness)

    def publish(self, version: int, params: Params | None) -> None:
        """Serves new weights (None: the base model) from every server, from the next request on.

        Raises WorkerError PUBLISH_FAILED, and VLLM_LOST when no server is left; the old weights are served then.
        """
        name = None
        try:
            if params is not None:
                self._loads += 1
                name = f"policy-{version:06d}-{self._run_id}-{self._loads}"
                folder = self._folder / name
                folder.mkdir()
                self._write(params, folder)
            self.call(self._switch(version, name))
        except OSError as error:
            raise WorkerError(
                "PUBLISH_FAILED", f"Cannot write version {version} for vLLM to {self._folder}: {error}",
                "Make room there, or set TMPDIR (or adapter_dir) to a folder that has it.") from error
        except Refused as error:
            raise WorkerError("PUBLISH_FAILED", f"vLLM refused version {version}: {error.words}.") from error

    def close(self) -> None:
        """Ends the servers that the worker started, unloads the adapter of the others, and removes the adapters."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(WorkerError, Refused):
            self.call(self._leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        started = [replica.process for replica in self._replicas.members if replica.process is not None]
        for process in started:
            process.leave()
        for process in started:
            process.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _leave(self) -> None:
        name, self._adapter = self._adapter, None
        if name is not None and any(replica.process is None for replica in self._replicas.live()):
            await self._replicas.on_all(lambda replica: replica.api.unload_adapter(name))

    async def _switch(self, version: int, name: str | None) -> None:
        if name is not None:
            folder = str(self._folder / name)
            await self._replicas.on_all(lambda replica: replica.api.load_adapter(name, folder))
        old, self._adapter, self.version = self._adapter, name, version
        if old is not None:
            await self._retire(old)

    async def _retire(self, name: str) -> None:
        """Unloads an adapter that no request uses and none will."""
        if name == self._adapter or self._in_use[name] > 0:
            return
        del self._in_use[name]
        with contextlib.suppress(Refused, WorkerError):  # it takes memory and does no harm
            await self._replicas.on_all(lambda replica: replica.api.unload_adapter(name))
        shutil.rmtree(self._folder / name, ignore_errors=True)

    async def _sleep(self) -> None:
        self._pauses += 1
        self._awake.clear()
        while any(replica.open for replica in self._replicas.members):
            await asyncio.sleep(_IDLE_SECS)
        if self._pauses == 1:
            await self._replicas.on_all(lambda replica: replica.api.sleep())

    async def _wake(self) -> None:
        self._pauses -= 1
        if self._pauses == 0:
            await self._replicas.on_all(lambda replica: replica.api.wake())
            self._awake.set()

    async def _answer(self, job: Job) -> None:
        work = asyncio.ensure_future(self._generate(job))
        while not (await asyncio.wait({work}, timeout=_LOOK_SECS))[0]:
            if job.gone():
                work.cancel()
        if work.cancelled():
            return
        error = work.exception()
        if error is None:
            job.done(work.result())
        else:
            job.done(error if isinstance(error, WorkerError) else failed(error))

    async def _generate(self, job: Job) -> Generation:
        for left in reversed(range(_TRIES + len(self._replicas.members))):
            await self._awake.wait()
            version, name = self.version, self._adapter
            if job.version is not None and job.version not in self.versions():
                raise replaced(job.version, version)
            replica = self._replicas.of(job.rollout)
            try:
                found = await self._complete(replica, name, job)
            except ConnectionError as error:
                await self._replicas.settle(replica, error)
                if left == 0:
                    raise
            except Refused as error:
                if error.status >= 500:
                    await self._replicas.settle(replica, error)
                if not replica.lost:
                    refused = f"{replica.shown} refused a request: {error.words}."
                    raise WorkerError("SAMPLING_FAILED", refused) from error
            else:
                self.tokens += len(found.ids)
                text, cached = self._text(found), min(found.cached, len(job.prompt))
                return Generation(found.ids, found.logprobs, text, found.finish_reason, cached, version)
        raise WorkerError("SAMPLING_FAILED", "vLLM broke off a request again and again.")

    async def _complete(self, replica: Replica, name: str | None, job: Job) -> Completion:
        key = name or ""
        self._in_use[key] += 1
        replica.open += 1
        wanted = Sampling(job.prompt, job.max_tokens, job.seed, job.temperature, job.top_p, job.stop, self._eos)
        try:
            return await replica.api.complete(name or replica.base, wanted)
        finally:
            replica.open -= 1
            self._in_use[key] -= 1
            if name is not None and name != self._adapter and self._in_use[key] == 0:
                self._loop.create_task(self._retire(name))

    def _text(self, found: Completion) -> str:
        if found.stop_text is not None:
            return self._decode(found.ids).split(found.stop_text, 1)[0]
        ended = found.finish_reason == "stop" or found.ids[-1] in self._eos
        return self._decode(found.ids[:-1] if ended else found.ids)
