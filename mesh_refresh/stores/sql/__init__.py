"""What the stores that keep their rows by SQL share."""
