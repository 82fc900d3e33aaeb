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
    for rank, ranks in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        # Either alone is left over from something else.
        if os.environ.get(rank) and os.environ.get(ranks, "1") not in ("", "0", "1"):
            return os.environ[rank] != "0"
    return False


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # daemon threads may sit inside C code; nothing is left to flush
