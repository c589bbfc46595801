"""The file that keeps access keys: it is read when it changes, and refused where others can write it."""

import logging
import os
import stat
import time
from pathlib import Path

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.files import read_small, why_unread
from mesh_refresh.service.access.keys import AccessKey, read_keys

_log = logging.getLogger("mesh_refresh.service")

_LARGEST = 1 << 20
"""Bytes."""
_SETTLED = 1.0
"""Seconds after which a further change of a file shows in its times for sure."""
_GONE = "gone"


class AccessFile:
    """The keys in a file, through links. Raises `InvalidRequest` where it cannot be used now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp_of(path)
        self._complaint: str | None = None
        self.keys = read_file(path, owned=True)
        """As they were when `look` last saw them."""

    def look(self) -> bool:
        """Read the file again where it has changed, and say whether there are other keys now.

        A file that is broken, or that others can write, is an error in the log, and the keys stay as they were. Where
        it is gone, there are no keys.
        """
        stamp, before = _stamp_of(self._path), self._stamp
        if stamp == before and stamp is not None:
            return False
        self._stamp, known = stamp, self.keys
        try:
            self.keys = () if stamp == _GONE else read_file(self._path, owned=True)
        except InvalidRequest as error:
            self._complain(f"{error} The keys stay as they were.", logging.ERROR)
        else:
            self._complain("It is gone, and there are no keys." if stamp == _GONE else None, logging.WARNING)
        return self.keys != known

    def _complain(self, complaint: str | None, level: int) -> None:
        """Log what is wrong, once for each time that it becomes so."""
        if complaint is not None and complaint != self._complaint:
            _log.log(level, "the access file cannot be used", extra={"reason": complaint})
        self._complaint = complaint


def read_file(path: Path, *, owned: bool = False) -> tuple[AccessKey, ...]:
    """The keys in the file. Raises `InvalidRequest` where it cannot be used, or where others can write it.

    `owned`: its owner too is one of the others, unless that is root, or the user of this process.
    """
    try:
        found, text = read_small(path, _LARGEST)
    except OSError as error:
        raise InvalidRequest(f"The access file cannot be read: {why_unread(error)}.") from None
    _refuse_shared(found, owned=owned)
    if len(text) > _LARGEST:
        raise InvalidRequest("The access file is too large.")
    return read_keys(text)


def _stamp_of(path: Path) -> object:
    """What changes when the file does; None is always another one."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _GONE
    except OSError:
        return None
    # Two changes within a tick of the file system's clock look alike: until it is over, the file is read each time.
    if abs(time.time() - found.st_ctime) < _SETTLED:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode, found.st_uid


def _refuse_shared(found: os.stat_result, *, owned: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise InvalidRequest("The access file is no file.")
    if os.name != "posix":
        return
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise InvalidRequest("Others can write the access file, and give themselves a key. Mend it with chmod 600.")
    if owned and found.st_uid not in (0, os.geteuid()):
        raise InvalidRequest("The access file belongs to another user, who can write it. Mend it with chown.")
