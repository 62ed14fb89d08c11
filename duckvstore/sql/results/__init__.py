"""What a statement gives: rows in every form, and what it took."""
