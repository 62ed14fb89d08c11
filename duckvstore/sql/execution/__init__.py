"""Running planned statements: connections, sandboxes, progress, transactions."""
