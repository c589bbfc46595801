"""Containers of one machine that share a file by its folder: a lease of one holds in the other."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from mesh_refresh.stores import Busy, PlainText, Row
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing.conformance.store_kit import a_request, a_row, fill
from tests.stores.test_sqlite_names import MOUNTS

pytestmark = [pytest.mark.once, MOUNTS]

LEASE = timedelta(hours=10)
OWN_BOOT_ID = (
    "unshare -m sh -ec 'echo 11111111-2222-3333-4444-555555555555 > boot_id; "
    'mount --bind boot_id /proc/sys/kernel/random/boot_id; exec "$@"\' sh'
)
"""As LXC and systemd-nspawn give it to each container."""
KINDS = {
    "a boot id of its own": OWN_BOOT_ID,
    "a clock that is ahead": "unshare -T --boottime 1000000",
    "a clock that is behind": "unshare -T --boottime -60",
    "both": f"unshare -T --boottime 1000000 {OWN_BOOT_ID}",
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_lease_holds_for_every_container(tmp_path: Path, kind: str) -> None:
    """Of one that is out in the machine nothing is given in the container, and the other way; each is counted."""
    path = tmp_path / "fleet.db"
    async with SqliteStore.open(path, cipher=PlainText()) as store:
        await fill(store, *(a_row(login_id) for login_id in "abcd"))
        assert isinstance(await store.claim_one("a", "here", LEASE), Row)
        row = await store.claim_one("b", "here", LEASE)
        assert isinstance(row, Row)
        assert await store.swap(row, owner="here", hold=LEASE)
        contained(
            KINDS[kind],
            f"""
async with SqliteStore.open({str(path)!r}, cipher=PlainText()) as store:
    for login_id in "ab":
        busy = await store.claim_one(login_id, "there", LEASE)
        assert isinstance(busy, Busy) and LEASE - timedelta(minutes=5) < busy.left <= LEASE, busy
    claimed = await store.claim(a_request(limit=1, lease=LEASE, owner="there"))
    assert [row.login_id for row in claimed] == ["c"]
    assert [count.leased for count in await store.counts(NOW)] == [2]
""",
            tmp_path,
        )
        busy = await store.claim_one("c", "here", LEASE)
        assert isinstance(busy, Busy)
        assert LEASE - timedelta(minutes=5) < busy.left <= LEASE
        assert [row.login_id for row in await store.claim(a_request())] == ["d"]


def contained(command: str, body: str, folder: Path) -> None:
    """Run `body` in a process that `command` starts."""
    head = """
import asyncio
from datetime import timedelta
from mesh_refresh.stores import Busy, PlainText
from mesh_refresh.stores.sqlite import SqliteStore
from mesh_refresh.testing.conformance.store_kit import NOW, a_request
LEASE = timedelta(hours=10)
async def main():
"""
    code = head + "\n".join(f"    {line}" for line in body.splitlines()) + "\nasyncio.run(main())\n"
    script = f'cd "$1"\nexec {command} sh -c \'cd "$0" && exec "$1" -c "$2"\' "$2" "$3" "$4"'
    arguments = (folder, Path(__file__).parents[2], sys.executable, code)
    ran = subprocess.run(("sh", "-c", script, "sh", *arguments), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
