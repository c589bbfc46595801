"""The operator's page: the fleet in a browser."""
