"""Keys that are rotated through files while two keeper processes work on one store."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from mesh_refresh.stores import Cipher
from mesh_refresh.stores.resealing import reseal
from tests.keeper.processes.scene import Scene, until

pytestmark = pytest.mark.once

NEW = Cipher.generate_key()
STAYS = "Key 2 ({old}) must stay: it seals 1 value. Next: mesh-refresh key reseal"
MAY_GO = "Key 2 ({old}) seals nothing here. It may go, if a reseal has run under key 1 and no other spool needs it."


async def told(scene: Scene, keys: str) -> str:
    """The last line of `mesh-refresh key usage` with these keys."""
    given = {"MESH_REFRESH_STORE": scene.where, "MESH_REFRESH_KEYS": keys, "MESH_REFRESH_SPOOL": str(scene.spool)}
    command = [sys.executable, "-m", "mesh_refresh", "key", "usage"]
    ran = await asyncio.to_thread(
        subprocess.run, command, env={**os.environ, **given}, capture_output=True, text=True, check=True
    )
    return ran.stdout.strip().split("\n")[-1]


async def test_keys_are_rotated_while_two_keepers_work(any_scene: Scene, tmp_path: Path) -> None:
    """One sees the change before the other. No login is ever closed to either. The old key may go when that is said:
    then no keeper that has the new one alone meets a login that does not open.
    """
    scene = any_scene
    files = [tmp_path / "keys-of-the-first", tmp_path / "keys-of-the-second"]
    for file in files:
        file.write_text(scene.key)
    scene.deadline = 20.0
    scene.policy |= {"lease": 30.0, "drain": 20.0}
    logins = [
        scene.fake.login("coinbase", revokes_on_reuse=True, access_lifetime=timedelta(seconds=2)) for _ in range(10)
    ]
    await scene.add(logins)
    workers = [await scene.worker(keys_file=str(file)) for file in files]
    (old,) = Cipher([scene.key]).key_ids
    (new,) = Cipher([NEW]).key_ids

    async def usage() -> dict[str, int]:
        return dict(await scene.store.key_usage())

    for file in files:
        file.write_text(f"{NEW},{scene.key}")
    parked = scene.fake.login("eTrade", access_lifetime=None)  # no refresh seals it anew
    await scene.add([parked])
    await until(usage, lambda found: new in found)
    both = Cipher([NEW, scene.key])
    scene.store.cipher = both
    seen = len(scene.fake.requests)
    await scene.fake.received(seen + 20)
    await until(usage, lambda found: found[old] == 1)
    assert await told(scene, f"{NEW},{scene.key}") == STAYS.format(old=old)
    await reseal(scene.store)
    assert await told(scene, f"{NEW},{scene.key}") == MAY_GO.format(old=old)
    for file in files:
        file.write_text(NEW)
    scene.store.cipher = Cipher([NEW])
    seen = len(scene.fake.requests)
    await scene.fake.received(seen + 20)
    assert [await worker.end() for worker in workers] == [0, 0]
    assert await usage() == {new: len(logins) + 1}
    await scene.assert_whole()
    for worker in workers:
        assert not worker.of("log"), worker.of("log")
