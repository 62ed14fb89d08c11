"""Notebooks: the magics and the version browser (extra ``jupyter``).

Invariant: nothing outside this package imports IPython, ipywidgets or anywidget.
"""
