from pathlib import Path

import pytest

from mesh_refresh.testing import FakeMesh
from tests.sync.programs import Scene


@pytest.fixture
def scene(fake: FakeMesh, tmp_path: Path) -> Scene:
    return Scene(fake, tmp_path)
