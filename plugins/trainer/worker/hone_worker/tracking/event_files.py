"""TensorBoard's event files, by its own writer: scalars over the optimiser's steps, settings and verdict as text."""

from __future__ import annotations

import json
import time
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def open_tracker(options: dict[str, Any]) -> EventFiles:
    return EventFiles(**options)


class EventFiles:
    """Writes to ``log_dir``. ``restart``: what readers know of the folder so far is replaced by what follows."""

    def __init__(self, log_dir: str, settings: dict[str, Any], restart: bool) -> None:
        self.place = log_dir
        self._writer = EventFileWriter(log_dir, flush_secs=5)
        if restart:
            # Readers keep the texts.
            start = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=time.time(), step=0, session_log=start))
            return
        self._text("settings", "".join(f"    {name}: {json.dumps(value)}\n" for name, value in settings.items()))

    def log(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in row["values"].items()]
            self._writer.add_event(
                Event(wall_time=row["at"] / 1000, step=row["step"], summary=Summary(value=values)))
        self._writer.flush()

    def end(self, status: str | None, sentence: str | None) -> None:
        if sentence:
            self._text("verdict", sentence)
        self._writer.close()

    def _text(self, tag: str, text: str) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=0, summary=text_pb(tag, text)))
        self._writer.flush()
