"""Benchmarks: figures, not assertions. ``make bench`` runs them."""
