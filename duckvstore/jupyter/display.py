"""Outputs of a running cell."""

from __future__ import annotations


def publish(as_html: str, as_text: str) -> None:
    """Display an output of the running cell, in both forms."""
    from IPython.display import publish_display_data

    publish_display_data({"text/plain": as_text, "text/html": as_html})  # type: ignore[no-untyped-call]
