"""`python -m hone_worker mlx`: one worker process on stdin and stdout, until stdin ends.

The protocol takes its descriptors before any back end is imported, so that no library's print
can reach them.
"""

from hone_worker.protocol import Channel, serve  # noqa: I001  (must come first)

import os
import sys

BACKENDS = ("mlx",)


def main(argv: list[str]) -> int:
    if len(argv) != 1 or argv[0] not in BACKENDS:
        print(f"usage: python -m hone_worker {'|'.join(BACKENDS)}", file=sys.stderr)
        return 2
    channel = Channel.over_stdio()
    from hone_worker.mlx.worker import Worker

    worker = Worker(channel)
    serve(channel, worker.methods())
    worker.close()
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # daemon threads may sit inside C code; nothing is left to flush
