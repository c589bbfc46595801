"""The constant server, started and stopped."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta


@contextmanager
def answering(core: int, delay: timedelta = timedelta()) -> Iterator[str]:
    """Its base URL; it runs on `core`, and takes `delay` for each answer."""
    command = [sys.executable, "-m", "tests.benchmarks.server", str(core), str(delay.total_seconds())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
