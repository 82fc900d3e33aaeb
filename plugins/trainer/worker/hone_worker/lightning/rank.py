"""A rank that is not rank 0: it loads the same model, and trains along until rank 0 ends.

    python -m hone_worker.lightning.rank       what ``launch`` starts

It writes nothing to stdout: rank 0 alone speaks the protocol.
"""

from __future__ import annotations

import os
import sys
import traceback

from hone_worker.errors import WorkerError


def main() -> int:
    os.dup2(2, 1)
    from hone_worker.lightning import launch, lightning_engine

    try:
        lightning_engine.follow(launch.follow())
    except WorkerError as error:
        print(f"{error.code}: {error.message} {error.hint}".rstrip(), file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Threads may sit inside a collective that never ends.
    os._exit(status)
