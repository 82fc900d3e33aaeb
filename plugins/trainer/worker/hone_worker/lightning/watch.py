"""Watches the ranks that this process launched: when one dies, it says which, how, and what it said last."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence

from hone_worker.errors import WorkerError

# Set for the ranks that the worker launched.
LAUNCHED = "HONE_LAUNCHED_RANK"
# So much of a dead rank's stderr is shown.
_LAST_LINES = 12
# A collective fails some time before or after the end of the rank that caused it is seen.
_NOTICE_SECS = 10.0


class Watch:
    """The ranks that this process launched. dead: why the group is no more; ``on_death`` is told, on another thread."""

    def __init__(self) -> None:
        self.dead: WorkerError | None = None
        self.on_death: Callable[[WorkerError], None] = lambda _: None
        self._children: list[subprocess.Popen[bytes]] = []
        self._died = threading.Event()
        self._lock = threading.Lock()
        self._closing = False

    def start(self, rank: int, world: int, port: int) -> None:
        """Launches a rank."""
        child = subprocess.Popen(
            [sys.executable, "-m", "hone_worker.lightning.rank"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment(rank, world, port),
        )
        self._children.append(child)
        threading.Thread(target=self._watch, args=(child, rank, world), name=f"rank {rank}", daemon=True).start()

    def _watch(self, child: subprocess.Popen[bytes], rank: int, world: int) -> None:
        last: deque[str] = deque(maxlen=_LAST_LINES)

        def read() -> None:
            for line in child.stderr or ():
                last.append(line.decode(errors="replace").rstrip())
                print(f"[rank {rank}] {last[-1]}", file=sys.stderr, flush=True)

        reader = threading.Thread(target=read, name=f"stderr of rank {rank}", daemon=True)
        reader.start()
        status = child.wait()
        reader.join(1.0)
        with self._lock:
            if self._closing or self.dead:
                return
            self.dead = died(rank, world, status, list(last))
        self._died.set()
        self.on_death(self.dead)
        self.close()

    def cause(self, error: BaseException) -> BaseException:
        """Why the training failed: the rank that died, if one did."""
        if self._children and getattr(error, "code", "RANK_DIED") == "RANK_DIED":
            self._died.wait(_NOTICE_SECS)
        return self.dead or error

    def close(self) -> None:
        """Ends the launched ranks."""
        with self._lock:
            self._closing = True
        for child in self._children:
            child.kill()


def died(rank: int, world: int, status: int, last: Sequence[str]) -> WorkerError:
    """Names a rank that ended, how, and what it said last."""
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    said = "\n".join(["; it said last:", *last]) if last else "."
    return WorkerError(
        "RANK_DIED",
        f"Rank {rank} of {world} {how}{said}",
        "Resume the run: it goes on from the last checkpoint.",
    )


def _environment(rank: int, world: int, port: int) -> dict[str, str]:
    package, path = str(pathlib.Path(__file__).parents[2]), os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": f"{package}{os.pathsep}{path}" if path else package,
        LAUNCHED: "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(world),
    }
