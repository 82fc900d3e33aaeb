"""`python guard.py FOLDER COMMAND…`: runs a server no longer than the process that started it lives.

The starter holds the other end of stdin. When that closes, the server's whole process group is ended, and FOLDER is
removed unless the starter sent a word before, which it does when it lives on. Ends with the server's own exit code.
Standard library only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading

GRACE_SECS = 10.0


def main(folder: str, command: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end of stdin is the one order
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_default_signals)
    threading.Thread(target=_watch, args=(child,), daemon=True).start()
    code = child.wait()
    _end(child.pid, signal.SIGKILL)  # what the server left behind
    if _orphaned.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    return code if code >= 0 else 128 - code


_orphaned = threading.Event()


def _watch(child: subprocess.Popen[bytes]) -> None:
    if not os.read(0, 1):
        _orphaned.set()
    _end(child.pid, signal.SIGTERM)
    try:
        child.wait(GRACE_SECS)
    except subprocess.TimeoutExpired:
        _end(child.pid, signal.SIGKILL)


def _end(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
