"""The public API: stores, libraries and what their calls take and return."""
