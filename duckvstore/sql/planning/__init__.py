"""From a statement to the text that DuckDB runs over segments."""
