"""How a schema changes: rows that join it, and ALTER TABLE. Pure."""
