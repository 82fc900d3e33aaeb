"""`python -m hone_worker.tracking`: one tracker on stdin and stdout, until stdin ends.

The protocol takes its descriptors before any library is imported, so that no library's print can reach them.
"""

from hone_worker.protocol import Channel, serve  # noqa: I001  (must come first)

import importlib
import os
import sys
from typing import Any

from hone_worker.errors import WorkerError

MODULES = {"tensorboard": "event_files", "wandb": "wandb_run", "carbon": "emissions"}


class Tracking:
    """The methods of the process; ``end`` is called once, whatever happened."""

    def __init__(self) -> None:
        self._tracker: Any = None

    def methods(self) -> dict[str, Any]:
        return {"begin": self.begin, "log": self.log, "measure": self.measure, "end": self.end}

    def begin(self, params: dict[str, Any]) -> dict[str, Any]:
        """Opens ``params["tracker"]`` with its ``options``; answers where it writes."""
        module = importlib.import_module(f"hone_worker.tracking.{MODULES[params['tracker']]}")
        try:
            self._tracker = module.open_tracker(params["options"])
        except OSError as error:
            raise WorkerError("TRACKER_NOT_WRITTEN", str(error), "") from error
        return {"place": self._tracker.place}

    def log(self, params: dict[str, Any]) -> dict[str, Any]:
        """Rows of ``{"seq", "at", "step", "values"}``: at is in milliseconds since the epoch."""
        self._tracker.log(params["rows"])
        return {}

    def measure(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"values": self._tracker.measure()}

    def end(self, params: dict[str, Any]) -> dict[str, Any]:
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            tracker.end(params.get("status"), params.get("sentence"))
        return {}


def main() -> int:
    channel = Channel.over_stdio()
    tracking = Tracking()
    serve(channel, tracking.methods())
    # Without a call of it: hone was killed.
    tracking.end({})
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # threads of the libraries may still wait for something
