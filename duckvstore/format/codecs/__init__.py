"""Python's values as stored rows, and back. Pure."""
