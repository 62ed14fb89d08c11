"""SQL text: tokens, AT forms, statements, and what sqlglot reads of them. Pure."""
