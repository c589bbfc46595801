"""The version of this package. A test compares it with pyproject.toml: `importlib.metadata` takes 20 ms to import."""

VERSION = "0.1.0"
