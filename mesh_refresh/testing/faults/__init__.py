"""Faults to plant: in the fake's answers, and in the bytes on their way (`edge`)."""
