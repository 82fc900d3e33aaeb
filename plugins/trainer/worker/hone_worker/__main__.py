"""`python -m hone_worker`: one worker process on stdin and stdout, until stdin ends.

The protocol takes its descriptors before any engine is imported, so that no library's print can reach them.
"""

from hone_worker.protocol import Channel, serve  # noqa: I001  (must come first)

import os
import sys

from hone_worker.launcher import placed


def main(argv: list[str]) -> int:
    if argv:
        print("usage: python -m hone_worker", file=sys.stderr)
        return 2
    if (place := placed(os.environ)) and place[1] > 0:
        # Rank 0 alone speaks the protocol.
        from hone_worker.lightning import rank

        return rank.main()
    channel = Channel.over_stdio()
    from hone_worker.worker import Worker

    worker = Worker(channel)
    serve(channel, worker.methods())
    worker.close()
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # daemon threads may sit inside C code; nothing is left to flush
