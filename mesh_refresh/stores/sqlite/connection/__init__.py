"""The connection of SqliteStore to its file: how the file is opened, locked, and used from one thread."""
