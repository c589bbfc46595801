"""On which mount, and on which kind of file system, a file lies. Linux says it; elsewhere nothing is known."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from attrs import frozen

_CLUSTER = ("acfs", "beegfs", "ceph", "gfs", "gfs2", "glusterfs", "gpfs", "juicefs", "lustre", "ocfs2", "orangefs")
_SERVER = ("afs", "cifs", "coda", "davfs", "ncpfs", "nfs", "nfs4", "panfs", "pvfs2", "quobyte", "smb", "smb3", "smbfs")
_GUEST = ("9p", "fakeowner", "prl_fs", "vboxsf", "virtiofs", "vmhgfs", "wekafs")
_NETWORK = frozenset((*_CLUSTER, *_SERVER, *_GUEST))
"""File systems that several machines, or a machine and its guests, have mounted at once."""
_LOCAL_FUSE = frozenset(("fuse.fuse-overlayfs",))
"""The others that begin with ``fuse`` are network drives (sshfs, rclone, s3fs), or show the files of another folder by
a second name (bindfs, mergerfs, gocryptfs). ``fuseblk`` is a disk."""


@frozen
class Mount:
    """One line of ``/proc/self/mountinfo``."""

    number: str
    device: str
    """Major and minor number, as ``/proc/locks`` writes them."""
    kind: str
    """The type of the file system."""

    @property
    def is_shared(self) -> bool:
        """Whether another machine, or another name of the same files, may be behind it."""
        is_fuse = self.kind == "fuse" or self.kind.startswith("fuse.")
        return self.kind in _NETWORK or (is_fuse and self.kind not in _LOCAL_FUSE)


def mount_number(path: str) -> str | None:
    """The number of the mount that the file or folder `path` is on; None where that cannot be told.

    The handle is of a kind whose closing does not drop the locks that this process has on the file.
    """
    try:
        handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (AttributeError, OSError):  # no Linux, or no such file
        return None
    try:
        facts = _lines(f"/proc/self/fdinfo/{handle}")
    finally:
        os.close(handle)
    return next((line.split()[1] for line in facts if line.startswith("mnt_id:")), None)


def mount(number: str | None) -> Mount | None:
    """The mount of that number; None where it is not known."""
    return next((found for found in mounts(_lines("/proc/self/mountinfo")) if found.number == number), None)


def mounts(lines: Iterable[str]) -> Iterable[Mount]:
    """The mounts in `lines` of a mountinfo. See proc(5)."""
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if separator and len(fields) >= 3 and after:
            major, _, minor = fields[2].partition(":")
            yield Mount(fields[0], f"{int(major):02x}:{int(minor):02x}", after.split()[0])


@frozen
class Lock:
    """A lock of POSIX, as ``fcntl`` takes it, on a part of a file."""

    process: str
    inode: int
    start: int
    """Its first byte."""


def locks(found: Mount) -> list[Lock]:
    """The locks on files of this mount. Those of processes in other containers cannot be read."""
    taken = [fields for fields in map(str.split, _lines("/proc/locks")) if len(fields) > 7 and fields[1] == "POSIX"]
    there = f"{found.device}:"
    return [
        Lock(fields[4], int(fields[5].removeprefix(there)), int(fields[6]))
        for fields in taken
        if fields[5].startswith(there)
    ]


def _lines(path: str) -> list[str]:
    with suppress(OSError, ValueError):
        return Path(path).read_text("utf-8", "surrogateescape").splitlines()
    return []
