"""A statement's way: parsed and classified (``run``), in the hands of its handler, which binds, plans and executes."""
