"""``python -m mesh_refresh`` is ``mesh-refresh``."""

import sys

from mesh_refresh.cli import main

if __name__ == "__main__":
    sys.exit(main())
