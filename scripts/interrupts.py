"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second cancels what is running."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether the run was asked to stop after the batch in hand."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    def request(self) -> None:
        """Ask."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but not once somebody asks; returns whether somebody did."""
        return self._event.wait(seconds)


@contextmanager
def watch(notice: Callable[[str], None]) -> Iterator[StopRequest]:
    """While inside, SIGINT and SIGTERM set the request; a second one raises KeyboardInterrupt.

    KeyboardInterrupt makes psycopg cancel the statement that it is waiting for.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, _: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.request()
        notice("Stopping after the batch in hand. Again to cancel it.")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
