"""The control channel: replies, refusals, and descriptors that print cannot reach."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from hone_worker import protocol
from hone_worker.errors import WorkerError

PACKAGE = str(Path(__file__).parent.parent)


def ask(line: str, **handlers: protocol.Handler) -> dict:
    return protocol.answer(line.encode(), handlers)


def test_answer_returns_the_result_under_the_same_id() -> None:
    reply = ask('{"v":1,"id":7,"method":"add","params":{"a":1}}', add=lambda p: {"sum": p["a"] + 1})
    assert reply == {"id": 7, "result": {"sum": 2}}


def test_answer_names_unknown_methods_and_bad_lines() -> None:
    assert ask('{"id":1,"method":"nope"}', a=dict, b=dict)["error"] == {
        "code": "UNKNOWN_METHOD",
        "message": "The worker has no method 'nope'.",
        "hint": "Methods: a, b.",
    }
    assert ask("{nonsense")["error"]["code"] == "BAD_REQUEST"
    assert ask("[]")["error"]["message"] == "Not a request line: a request is a JSON object."
    assert ask('{"v":2,"id":1,"method":"a"}', a=dict)["error"]["code"] == "PROTOCOL_VERSION"


def test_answer_keeps_the_code_of_a_worker_error_and_calls_others_internal(capsys) -> None:  # noqa: ANN001
    def refuse(_: dict) -> dict:
        raise WorkerError("MODEL_NOT_FOUND", "There is no model 'x'.", "Give a folder.")

    def crash(_: dict) -> dict:
        raise ZeroDivisionError("by zero")

    reply = ask('{"id":3,"method":"m"}', m=refuse)
    assert reply == {
        "id": 3,
        "error": {"code": "MODEL_NOT_FOUND", "message": "There is no model 'x'.", "hint": "Give a folder."},
    }
    assert ask('{"id":3,"method":"m"}', m=crash)["error"]["code"] == "INTERNAL"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_dumps_writes_null_for_numbers_that_json_has_not() -> None:
    assert json.loads(protocol.dumps({"a": [math.nan, 1.5], "b": math.inf})) == {"a": [None, 1.5], "b": None}


def run(source: str, *, feed: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": PACKAGE}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        input=feed, capture_output=True, text=True, timeout=30, env=environment, check=False,
    )


def test_channel_keeps_prints_of_any_kind_out_of_the_stream() -> None:
    done = run(
        """
        from hone_worker.protocol import Channel, serve
        channel = Channel.over_stdio()
        import os
        def noisy(params):
            print("python print"); os.write(1, b"c library print"); os.system("echo child print")
            assert os.read(0, 10) == b""
            return params
        serve(channel, {"noisy": noisy})
        """,
        feed='{"id":1,"method":"noisy","params":{"x":1}}\n{"id":2,"method":"noisy","params":{"x":2}}\n',
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"id": 1, "result": {"x": 1}},
        {"id": 2, "result": {"x": 2}},
    ]
    assert "c library print" in done.stderr and "child print" in done.stderr


def test_end_of_input_ends_a_process_that_is_busy() -> None:
    done = run(
        """
        from hone_worker import protocol
        protocol.EOF_GRACE_SECS = 0.2
        channel = protocol.Channel.over_stdio()
        import time
        protocol.serve(channel, {"sleep": lambda params: time.sleep(3600)})
        """,
        feed='{"id":1,"method":"sleep"}\n',
    )
    assert done.returncode == 0 and done.stdout == ""


def test_serve_ends_after_shutdown() -> None:
    done = run(
        """
        from hone_worker.protocol import Channel, serve
        channel = Channel.over_stdio()
        channel.start_heartbeat(0.01)
        import time
        def shutdown(params):
            time.sleep(0.2)
            return {}
        serve(channel, {"shutdown": shutdown, "after": lambda p: {}})
        """,
        feed='{"id":1,"method":"shutdown"}\n{"id":2,"method":"after"}\n',
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"event": "heartbeat"} in lines
    assert [line for line in lines if "id" in line] == [{"id": 1, "result": {}}]
