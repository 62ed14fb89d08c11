"""A library as the engine sees it: its caches, its options, its garbage, its long lists."""
