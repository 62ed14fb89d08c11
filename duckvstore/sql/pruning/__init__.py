"""Which segments a predicate cannot match, and which are scanned."""
