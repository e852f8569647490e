"""Ctrl-C at a moment when nothing is half done."""

import contextlib
import signal
import threading
from collections.abc import Callable
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
        self._around: Deferred | None = None
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            around = getattr(handler, "__self__", None)
            if isinstance(around, Deferred):  # an exchange of handlers takes 50 us of a step
                self._around = around
                around.hold()
            elif callable(handler):  # not where SIGINT is ignored, or handled outside Python
                self._handler = handler
                signal.signal(signal.SIGINT, self._catch)

    def __exit__(self, *_: object) -> None:
        if self._around is not None:
            self._around.release()
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            if self._caught is not None:
                self._handler(*self._caught)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._caught = number, frame


class Deferred:
    """A block in which the first Ctrl-C waits for `pass_on`, or for the end; later ones do not.

    say: called once, as soon as the first Ctrl-C comes.

    Attributes:
        at_once: whether a Ctrl-C came that did not wait.
    """

    def __init__(self, say: Callable[[], object] = lambda: None) -> None:
        self._say = say
        self._said = False
        self._held = 0  # how many `Unbroken` are inside
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

    def hold(self) -> None:
        """Let Ctrl-C wait for the `release` of each `hold`, even if it is not the first."""
        self._held += 1

    def release(self) -> None:
        """Undo a `hold`."""
        self._held -= 1
        if self._held == 0 and self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._handler(*waiting)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if not self._seen:
            self._seen = True
            self._caught = number, frame
            self._tell()
            return
        self.at_once = True
        if self._held:
            self._waiting = number, frame
        else:
            self._handler(number, frame)

    def _tell(self) -> None:
        if not self._said:
            self._said = True
            with contextlib.suppress(Exception):  # amid a line that is being written, say
                self._say()
