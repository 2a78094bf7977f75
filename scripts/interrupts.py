"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second cancels what is running."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether the run was asked to stop after the batch in hand; one with a parent is also asked by asking that."""

    def __init__(self, parent: StopRequest | None = None) -> None:
        self._event = threading.Event()
        self._parent = parent

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set() or (self._parent is not None and self._parent.requested)

    def request(self) -> None:
        """Ask."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but not once somebody asks; returns whether somebody did."""
        deadline = time.monotonic() + seconds
        while self._parent is not None and not self.requested and (left := deadline - time.monotonic()) > 0:
            self._event.wait(min(left, 0.2))
        return self.requested if self._parent is not None else self._event.wait(seconds)


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
