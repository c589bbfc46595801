"""Connections to PostgreSQL: addresses, TLS, the pool, the listener, and what their failures mean."""
