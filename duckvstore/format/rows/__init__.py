"""Rows as segments: how they are cut, hashed, ordered and encoded. Pure."""
