"""Notebooks: the magics and the version browser (extra ``jupyter``).

Nothing outside this package imports IPython, ipywidgets or anywidget.
"""
