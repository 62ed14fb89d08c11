"""What others attach or read without this package."""
