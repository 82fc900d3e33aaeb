"""vLLM as a process of the worker: how it is started and where, and that it never outlives the worker."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from hone_worker.errors import WorkerError
from hone_worker.vllm.placement import Placement, place
from hone_worker.vllm.vllm_config import VllmConfig, lora_rank
from hone_worker.vllm.vllm_process import Serving, VllmProcess, check_version, command_of

TESTS = pathlib.Path(__file__).parent
SERVING = Serving("/models/m", context_tokens=512, rank=12, versions=3, cpu=True)
HINT = "Leave `python` out of `rollouts` and hone makes an environment, or install vllm==0.33.0 in it."
HOLDER = """
import asyncio, pathlib, sys
from hone_worker.vllm.vllm_config import VllmConfig
from hone_worker.vllm.vllm_process import Serving, VllmProcess
folder = pathlib.Path(sys.argv[2])
serving = Serving("/models/m", 512, 12, 3, True)
process = VllmProcess(VllmConfig.from_json({"python": sys.argv[1]}), serving, folder, 0, None)
asyncio.run(process.ready(20, lambda _: None))
print((folder / "pid").read_text(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def environment(tmp_path: pathlib.Path) -> Callable[[str], str]:
    """Makes the Python of an environment whose vLLM is the stand-in, with a version, or none."""

    def make(version: str) -> str:
        site = tmp_path / f"site-{version}"
        if version:
            (site / "vllm/entrypoints/cli").mkdir(parents=True)
            main = site / "vllm/entrypoints/cli/main.py"
            main.write_text("import sys, vllm_standin\nvllm_standin.main(sys.argv[1:])\n")
        if version and version != "unnamed":
            (site / f"vllm-{version}.dist-info").mkdir()
            (site / f"vllm-{version}.dist-info/METADATA").write_text(f"Name: vllm\nVersion: {version}\n")
        python = tmp_path / f"python-{version}"
        python.write_text(f'#!/bin/sh\nPYTHONPATH={site}:{TESTS} exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        return str(python)

    return make


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


def test_the_command_says_what_rollouts_rely_on() -> None:
    config = VllmConfig.from_json({"python": "/env/python", "args": ["--seed", "3"]})
    common = [
        "/env/python", "-m", "vllm.entrypoints.cli.main", "serve", "/models/m", "--uds", "/s/0.sock",
        "--max-model-len", "512", "--enable-lora", "--max-lora-rank", "16", "--max-loras", "3", "--logprobs-mode",
        "processed_logprobs", "--generation-config", "vllm", "--enable-prompt-tokens-details"]
    assert command_of(config, SERVING, "/s/0.sock") == [
        *common, "--dtype", "float32", "--tensor-parallel-size", "1", "--enforce-eager", "--seed", "3"]
    shared = Serving("/models/m", 512, 12, 3, cpu=False, shares_gpu=True, dtype="bfloat16")
    assert command_of(config, shared, "/s/0.sock") == [
        *common, "--dtype", "bfloat16", "--tensor-parallel-size", "1", "--gpu-memory-utilization", "0.4",
        "--enable-sleep-mode", "--seed", "3"]


def test_a_server_is_waited_for_and_ended(environment: Callable[[str], str], tmp_path: pathlib.Path) -> None:
    config = VllmConfig.from_json({"python": environment("0.32.0")})
    process = VllmProcess(config, SERVING, tmp_path, 0, None)
    assert asyncio.run(process.ready(20, lambda _: None)) > 0
    assert asyncio.run(process.api.base()).name == "/models/m" and process.exit_code() is None
    pid = int((tmp_path / "pid").read_text())
    process.end()
    process.leave()
    assert tmp_path.exists() and gone(pid) and process.exit_code() == 128 + signal.SIGTERM


def test_a_server_that_ends_at_its_start_is_told_with_its_last_words(
    environment: Callable[[str], str], tmp_path: pathlib.Path
) -> None:
    config = VllmConfig.from_json({"python": environment("0.32.0"), "args": ["--last-words", "no room for the model"]})
    process = VllmProcess(config, SERVING, tmp_path, 0, None)
    with pytest.raises(WorkerError) as caught:
        asyncio.run(process.ready(20, lambda _: None))
    assert (caught.value.code, caught.value.message, caught.value.hint) == (
        "VLLM_NOT_STARTED",
        "vLLM ended with exit code 3 before it could serve:\nloading\nno room for the model",
        "The last lines say why. `rollouts: { args: [...] }` changes vLLM's options; "
        "`rollouts: { engine: worker }` does without vLLM.")


def test_a_server_that_is_never_ready_is_ended(environment: Callable[[str], str], tmp_path: pathlib.Path) -> None:
    config = VllmConfig.from_json({"python": environment("0.32.0")})
    process = VllmProcess(config, SERVING, tmp_path, 0, None)

    async def never() -> bool:
        return False

    process.api.healthy = never  # type: ignore[method-assign]
    with pytest.raises(WorkerError) as caught:
        asyncio.run(process.ready(0.01, lambda _: None))
    assert caught.value.message.startswith("vLLM was not ready after 0 s. It said last:\n")
    assert process.exit_code() is not None


@pytest.mark.parametrize("end", [
    lambda worker: worker.kill(), lambda worker: worker.terminate(), lambda worker: os.killpg(worker.pid, signal.SIGKILL)
], ids=["killed", "terminated", "killed with its group"])
def test_no_server_outlives_the_worker(
    end: Callable[[subprocess.Popen], None], environment: Callable[[str], str], tmp_path: pathlib.Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    worker = subprocess.Popen(
        [sys.executable, "-c", HOLDER, environment("0.32.0"), str(folder)], cwd=TESTS.parent,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert worker.stdout is not None
    pid = int(worker.stdout.readline())
    assert not gone(pid)
    end(worker)
    worker.wait()
    asyncio.run(until(lambda: gone(pid) and not folder.exists()))


def test_an_environment_must_have_a_vllm_that_hone_can_use(environment: Callable[[str], str]) -> None:
    assert check_version(environment("0.33.0")) == "0.33.0"

    def refused(version: str) -> tuple[str, str, str]:
        python = environment(version)
        with pytest.raises(WorkerError) as caught:
            check_version(python)
        return caught.value.code, caught.value.message.replace(repr(python), "P"), caught.value.hint

    assert refused("") == ("VLLM_MISSING", "There is no vLLM in the environment of P.", HINT)
    assert refused("0.9.1") == ("VLLM_VERSION", "The vLLM of P is 0.9.1; 0.32 or newer is wanted.", HINT)
    assert refused("unnamed") == (
        "VLLM_MISSING", "The vLLM of P has no distribution record named vllm, which its own command needs.", HINT)
    with pytest.raises(WorkerError, match="Cannot run '/no/python' for vLLM: .*No such file"):
        check_version("/no/python")


@pytest.mark.parametrize(("asked", "gpus", "training", "groups", "shared"), [
    ({}, "", 0, [None], False),
    ({"replicas": 2}, "", 0, [None, None], False),
    ({}, "0", 1, ["0"], True),
    ({}, "0 1 2 3", 1, ["1", "2", "3"], False),
    ({"tensor_parallel_size": 2}, "0 1 2 3", 1, ["1 2"], False),
    ({}, "0 1", 2, ["0", "1"], True),
    ({"tensor_parallel_size": 2}, "0 1", 1, ["0 1"], True),
    ({"replicas": 1}, "4 5", 1, ["5"], False),
    ({"replicas": 2}, "4 5", 1, ["4", "5"], True),
])
def test_servers_get_the_gpus_that_training_leaves_or_share_them(
    asked: dict, gpus: str, training: int, groups: list[str | None], shared: bool
) -> None:
    config = VllmConfig.from_json({"python": "p", **asked})
    expected = tuple(None if group is None else tuple(group.split()) for group in groups)
    assert place(config, gpus.split(), training) == Placement(expected, shared)


def test_more_gpus_than_there_are_is_refused() -> None:
    with pytest.raises(WorkerError) as caught:
        place(VllmConfig.from_json({"python": "p", "replicas": 3}), ["0", "1"], 1)
    assert caught.value.message == "The vLLM configuration asks for 3 × 1 GPUs; this machine has 2."


@pytest.mark.parametrize(("values", "message", "hint"), [
    ({}, "has neither urls nor python.", "Give the Python of an environment with vLLM."),
    ({"urls": ["http://a"], "python": "p"}, "has both urls and python.",
     "Give urls of running servers, or a Python to start some."),
    ({"python": "p", "replica": 2}, "has no option 'replica'.", "Options: adapter_dir, api_key, args, dtype, "
     "gpu_memory_utilization, max_model_len, python, replicas, start_timeout_secs, tensor_parallel_size, urls."),
    ({"python": "p", "replicas": 0}, "has replicas 0.", "It is 1 or more."),
    ({"python": "p", "replicas": True}, "has replicas True.", "It is 1 or more."),
    ({"urls": ["ftp://a"]}, "has urls ['ftp://a'].", "It is a list of http(s) URLs."),
    ({"python": "p", "gpu_memory_utilization": 1.5}, "has gpu_memory_utilization 1.5.",
     "It is greater than 0 and at most 1."),
])
def test_a_configuration_that_cannot_be_is_refused(values: dict, message: str, hint: str) -> None:
    with pytest.raises(WorkerError) as caught:
        VllmConfig.from_json(values)
    assert (caught.value.message, caught.value.hint) == (f"The vLLM configuration {message}", hint)


def test_ranks_are_rounded_up_to_those_that_vllm_has() -> None:
    assert [lora_rank(rank) for rank in (1, 2, 8, 9, 300)] == [1, 8, 8, 16, 320]
    with pytest.raises(WorkerError) as caught:
        lora_rank(513)
    assert caught.value.message == "The vLLM configuration cannot serve adapters of rank 513."
