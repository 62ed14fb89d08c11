"""How versions are made: commits, edits, staged parts, transactions, snapshots."""
