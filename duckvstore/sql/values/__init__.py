"""DuckDB's types and values: their names, Arrow's counterparts, and parameters."""
