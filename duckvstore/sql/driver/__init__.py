"""Calls into DuckDB: how signals stop them, and what their errors mean."""
