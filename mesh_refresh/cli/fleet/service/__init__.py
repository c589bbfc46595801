"""Commands about what a worker tells other programs."""
