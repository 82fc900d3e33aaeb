"""`python -m hone_worker`: one worker process on stdin and stdout, until stdin ends.

The protocol takes its descriptors before any engine is imported, so that no library's print can reach them.
"""

from hone_worker.protocol import Channel, serve  # noqa: I001  (must come first)

import os
import sys


def main(argv: list[str]) -> int:
    if argv:
        print("usage: python -m hone_worker", file=sys.stderr)
        return 2
    if _follows():
        from hone_worker.lightning import rank

        return rank.main()
    channel = Channel.over_stdio()
    from hone_worker.worker import Worker

    worker = Worker(channel)
    serve(channel, worker.methods())
    worker.close()
    return 0


def _follows() -> bool:
    """Whether torchrun or srun started this process as another than the first: rank 0 alone speaks the protocol."""
    get = os.environ.get
    tasks = int(get("SLURM_STEP_NUM_TASKS", "1"))
    return int(get("RANK") or (get("SLURM_PROCID", "0") if tasks > 1 else "0")) > 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # daemon threads may sit inside C code; nothing is left to flush
