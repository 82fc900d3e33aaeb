"""Memory of this process."""

from __future__ import annotations

import sys


def peak_bytes() -> int | None:
    """The most that was resident since the process began; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    # Kilobytes, but on macOS bytes (getrusage(2)).
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
