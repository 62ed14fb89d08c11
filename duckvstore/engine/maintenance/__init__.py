"""Upkeep: pruning, collection, verification, recovery, and their reports."""
