"""Moves logins between two stores while keepers run on both: `copy_fleet`, `take_back`.

`merge` decides, and is pure; `step` moves one login; the others go through the fleet. See docs/decisions/the-keeper.md.
"""
