"""The disk's own speed, measured beside the work that depends on it."""

import os
import tempfile
import time
from pathlib import Path

from bench.figures import percentile

_BLOCK = b"\x5a" * 4096


def fsync_median_ms(folder: Path, count: int = 100) -> float:
    """Median milliseconds to append 4 KiB and make it durable (fdatasync), in a file in this folder."""
    seconds = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(count):
            start = time.perf_counter()
            file.write(_BLOCK)
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - start)
    return percentile(seconds, 0.5) * 1e3
