"""The rules of an account: pure functions of a login, a result and its context. No clock, no I/O, no randomness."""
