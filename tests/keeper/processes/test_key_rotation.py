"""Keys that are rotated through files while two keeper processes work on one store."""

from datetime import timedelta
from pathlib import Path

import pytest

from mesh_refresh.stores import Cipher
from mesh_refresh.stores.resealing import reseal
from tests.keeper.processes.scene import Scene, until

pytestmark = pytest.mark.once

NEW = Cipher.generate_key()


async def test_keys_are_rotated_while_two_keepers_work(scene: Scene, tmp_path: Path) -> None:
    """One sees the change before the other. No login is ever closed to either, and at the end the old key may go."""
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
    await until(usage, lambda found: new in found)
    both = Cipher([NEW, scene.key])
    scene.store.cipher = both
    seen = len(scene.fake.requests)
    await scene.fake.received(seen + 20)
    await until(usage, lambda found: old not in found)
    await reseal(scene.store)
    for file in files:
        file.write_text(NEW)
    scene.store.cipher = Cipher([NEW])
    seen = len(scene.fake.requests)
    await scene.fake.received(seen + 20)
    assert [await worker.end() for worker in workers] == [0, 0]
    assert await usage() == {new: len(logins)}
    await scene.assert_whole()
    for worker in workers:
        assert not worker.of("log"), worker.of("log")
