"""What signals raise: the exception of a handler may come up anywhere in the code of the main thread."""

from __future__ import annotations

import signal


def of_handler(error: BaseException) -> bool:
    """Return whether a signal's handler raised ``error``: it is at the end of the traceback."""
    handlers = (signal.getsignal(number) for number in signal.valid_signals())
    codes = [getattr(handler, "__code__", None) for handler in handlers]
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False
