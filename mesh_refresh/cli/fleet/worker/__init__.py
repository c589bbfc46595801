"""Commands that run a keeper, and those that pause its brokers."""
