"""Commands on the store: copy, migrate, key."""
