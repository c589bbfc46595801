"""Keepers in processes of their own, which are killed, stopped, and cut off from their store."""
