"""Test suites for strategies, stores and transports that users write."""
