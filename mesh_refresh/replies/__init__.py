"""What a reply means for tokens that are kept: whose entry it is, and what the reply brought of it. Pure."""
