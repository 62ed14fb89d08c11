"""What signals raise: the exception of a handler may come up anywhere in the code of the main thread."""

from __future__ import annotations

import signal


def of_handler(error: BaseException) -> BaseException | None:
    """Return what a signal's handler raised, if ``error`` is that or was made of it, else None.

    The handler is at the end of its traceback, and it is the cause of what a library makes of it.
    """
    handlers = (signal.getsignal(number) for number in signal.valid_signals())
    codes = [getattr(handler, "__code__", None) for handler in handlers]
    origin: BaseException | None = error
    while origin is not None:
        trace = origin.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code in codes:
                return origin
            trace = trace.tb_next
        origin = origin.__cause__
    return None
