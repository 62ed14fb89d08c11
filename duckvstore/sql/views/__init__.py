"""Views, macros, prepared statements, and DuckDB's lists of them."""
