"""Several servers of one model behind the worker's address: which one answers, and what happens when one is lost.

A rollout stays with the server that it began with, which has its keys and values; a new one goes to the server with
the fewest open requests. A lost server's rollouts go on with the others. Everything here runs on one event loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from hone_worker.errors import WorkerError
from hone_worker.vllm.vllm_api import Refused, VllmApi
from hone_worker.vllm.vllm_process import VllmProcess

MAX_ROLLOUTS = 65536
_HEALTH_TRIES = 3
_HEALTH_SECS = 1.0

Warn = Callable[[str, str], None]


@dataclass(eq=False)
class Replica:
    """A server. shown: for messages; base: the base model's name there; process: None where somebody else started it;
    open: requests that it is answering; lost: whether it is given up."""

    shown: str
    api: VllmApi
    process: VllmProcess | None = None
    base: str = ""
    open: int = 0
    lost: bool = False


class Replicas:
    """The servers of a run; ``warn`` is told (code, message) when one is lost."""

    def __init__(self, members: Sequence[Replica], warn: Warn) -> None:
        self.members = list(members)
        self._warn = warn
        self._rollouts: OrderedDict[str, Replica] = OrderedDict()
        self._last_loss = ""

    def live(self) -> list[Replica]:
        return [member for member in self.members if not member.lost]

    def of(self, rollout: str | None) -> Replica:
        """The server for a request; raises WorkerError VLLM_LOST when none is left."""
        known = self._rollouts.get(rollout or "")
        if known is not None and not known.lost:
            return known
        live = self.live()
        if not live:
            raise WorkerError("VLLM_LOST", f"No vLLM server is left. {self._last_loss}", "Resume the run.")
        chosen = min(live, key=lambda member: member.open)
        if rollout is not None:
            self._rollouts[rollout] = chosen
            if len(self._rollouts) > MAX_ROLLOUTS:
                self._rollouts.popitem(last=False)
        return chosen

    def release(self, rollout: str) -> bool:
        """Forgets which server a rollout is with; whether it was known."""
        return self._rollouts.pop(rollout, None) is not None

    async def settle(self, replica: Replica, reason: Exception) -> None:
        """After a request that failed: finds out whether the server lives, and gives it up if not."""
        for _ in range(_HEALTH_TRIES):
            if replica.lost or _ended(replica):
                break
            if await replica.api.healthy():
                return
            await asyncio.sleep(_HEALTH_SECS)
        if not replica.lost:
            replica.lost = True
            await self._report(replica, reason)

    async def _report(self, replica: Replica, reason: Exception) -> None:
        why = f"{replica.shown} does not answer: {reason}."
        if replica.process is not None:
            await asyncio.to_thread(replica.process.end)
            why = f"{replica.shown} ended with exit code {replica.process.exit_code()}:\n{replica.process.last_words()}"
        self._last_loss = why
        left = len(self.live())
        rest = f"Its rollouts go on with the {left} that are left." if left else "None is left."
        self._warn("VLLM_LOST", f"{why}\n{rest}")

    async def on_all(self, work: Callable[[Replica], Awaitable[None]]) -> None:
        """Does ``work`` with every live server; one that is lost by it is left out. Raises Refused, and VLLM_LOST."""

        async def one(replica: Replica) -> None:
            try:
                await work(replica)
            except ConnectionError as error:
                await self.settle(replica, error)
                if not replica.lost:
                    await work(replica)
            except Refused as error:
                if error.status >= 500:
                    await self.settle(replica, error)
                if not replica.lost:
                    raise

        for outcome in await asyncio.gather(*(one(member) for member in self.live()), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        self.of(None)


def _ended(replica: Replica) -> bool:
    return replica.process is not None and replica.process.exit_code() is not None
