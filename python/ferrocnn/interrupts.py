"""Ctrl-C at a moment when nothing is half done."""

import signal
import threading
from types import FrameType
from typing import Any


class Unbroken:
    """A block that Ctrl-C does not break: the signal is passed on when the block has ended.

    A step updates one parameter after the other, and an exception between two of them would leave
    a model that no training run ever has. Only the main thread gets signals.
    """

    def __enter__(self) -> None:
        self._caught: tuple[int, FrameType | None] | None = None
        self._handler: Any = None
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):  # not where SIGINT is ignored, or handled outside Python
                self._handler = handler
                signal.signal(signal.SIGINT, self._catch)

    def __exit__(self, *_: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if self._caught is not None:
                self._handler(*self._caught)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught = number, frame
