"""The tables of PostgresStore and their versions."""
