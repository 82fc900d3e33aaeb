"""A real MLflow tracking server for tests, in an environment of its own (requirements/test_mlflow.txt), made once.

In Python: ``with mlflow_server(tmp_path) as url``. For other languages: ``python mlflow_server.py FOLDER [PORT]``
prints the address when the server answers, and ends with its stdin.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

LOCK = pathlib.Path(__file__).parent.parent / "requirements" / "test_mlflow.txt"
CACHE = pathlib.Path(os.environ.get("HONE_TEST_CACHE", str(pathlib.Path.home() / ".cache" / "hone-test")))
READY_SECS = 180


def environment() -> pathlib.Path:
    """The Python with MLflow's server; makes its environment if it is missing."""
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    home = CACHE / f"test-mlflow-{key}"
    python = home / "bin" / "python"
    if (home / "complete").exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    locked = ["--quiet", "--only-binary=:all:", "--require-hashes", "-r", str(LOCK)]
    if shutil.which("uv"):
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, str(home)], check=True)
        subprocess.run(["uv", "pip", "install", "--python", str(python), *locked], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", *locked], check=True)
    (home / "complete").touch()
    return python


@contextlib.contextmanager
def mlflow_server(folder: pathlib.Path, port: int = 0) -> Iterator[str]:
    """Serves the experiments in ``folder`` until the block ends; yields the server's address.

    Raises RuntimeError with the end of its log if it ends or does not answer.
    """
    python = environment()
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    log = folder / "mlflow.log"
    command = [
        str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--default-artifact-root", str(folder / "artifacts"),
    ]
    with log.open("ab") as output:
        child = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={**os.environ, "PYTHONPATH": "", "MLFLOW_DISABLE_TELEMETRY": "true"})
    try:
        wait_until_ready(url, child, log)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def wait_until_ready(url: str, child: subprocess.Popen, log: pathlib.Path) -> None:
    until = time.monotonic() + READY_SECS
    while time.monotonic() < until and child.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        time.sleep(0.2)
    raise RuntimeError(f"MLflow's server does not answer: {log.read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


if __name__ == "__main__":
    with mlflow_server(pathlib.Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 0) as address:
        print(address, flush=True)
        sys.stdin.read()
