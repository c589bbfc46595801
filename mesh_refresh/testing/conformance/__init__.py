"""Suites that a strategy, a store and a transport of somebody else can be held against."""
