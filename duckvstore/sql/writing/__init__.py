"""Statements that make versions: INSERT, UPDATE, MERGE, ALTER and the like."""
