"""Ctrl-C at a moment when nothing is half done."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


class Deferred:
    """A block in which the first Ctrl-C waits for `pass_on`, or for the end; later ones do not.

    say: called once, as soon as the first Ctrl-C comes.

    Attributes:
        at_once: whether a Ctrl-C came that did not wait.
    """

    def __init__(self, say: Callable[[], object] = lambda: None) -> None:
        self._say = say
        self._held = 0  # how many `unbroken` blocks are around
        self._same_block = False  # as that in which the first came
        self._waiting: tuple[int, FrameType | None] | None = None

    def __enter__(self) -> "Deferred":
        self.at_once = False
        self._seen = False
        self._caught: tuple[int, FrameType | None] | None = None
        self._handler: Any = None
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                self._handler = handler
                signal.signal(signal.SIGINT, self._catch)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if kind is not KeyboardInterrupt:
                self.pass_on()

    def pass_on(self) -> None:
        """Pass on a Ctrl-C that waits; KeyboardInterrupt, where the program has no other way."""
        if self._caught is not None:
            caught, self._caught = self._caught, None
            self._handler(*caught)

    @contextlib.contextmanager
    def unbroken(self) -> Iterator[None]:
        """Let no Ctrl-C break a block inside: one that does not wait is passed on at its end.

        A step updates one parameter after the other, and an exception between two of them would
        leave a model that no training run ever has. One that comes in the block of the first is
        taken for the same: some programs send it on to a child that has got it already.
        """
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if self._held == 0:
                self._same_block = False
                waiting, self._waiting = self._waiting, None
                if waiting is not None:
                    self._handler(*waiting)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if not self._seen:
            self._seen, self._same_block = True, self._held > 0
            self._caught = number, frame
            with contextlib.suppress(Exception):  # amid a line that is being written, say
                self._say()
        elif self._held == 0:
            self.at_once = True
            self._handler(number, frame)
        elif not self._same_block:
            self.at_once = True
            self._waiting = number, frame
