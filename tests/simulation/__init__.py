"""Worlds of keepers, brokers, people and bad weather on a simulated event loop, each decided by one seed."""
