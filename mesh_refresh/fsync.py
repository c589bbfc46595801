"""Files and names in a folder, made to outlive a power cut."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """What was made or renamed in it stays so after a power cut, where the system can promise that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        return
    finally:
        os.close(handle)


def write_new_file(folder: Path, prefix: str, content: bytes) -> Path:
    """A new file of mode 0600, with `content` on the disk; its name begins with `prefix`. Raises `OSError`.

    Its name is on the disk after `sync_folder`. Where writing fails, the file is removed.
    """
    handle, name = tempfile.mkstemp(prefix=prefix, dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    return Path(name)
