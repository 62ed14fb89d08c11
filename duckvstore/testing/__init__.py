"""For authors of object stores: ``conformance`` (needs pytest) and ``faulty``; shipped with the package.

Invariant: nothing else of the package imports from here.
"""
