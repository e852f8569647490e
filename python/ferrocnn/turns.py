"""One user of a model at a time."""

import os
import threading
import weakref


class Turn:
    """A lock for `with`: calls from several threads take turns.

    A signal handler that wants a turn in the middle of its own thread's gets RuntimeError; waiting
    would last for ever, and going on would spoil the batch in work. A child made by `fork` starts
    with a free lock, whoever held it in the parent.
    """

    def __init__(self) -> None:
        self._renew()
        _TURNS.add(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._busy = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._busy:
            self._lock.release()
            raise RuntimeError(
                "model: expected a free model, got one in the middle of a call, which a signal "
                "handler of the same thread cannot use"
            )
        self._busy = True

    def __exit__(self, *_: object) -> None:
        self._busy = False
        self._lock.release()


_TURNS: "weakref.WeakSet[Turn]" = weakref.WeakSet()


def _renew_all() -> None:
    for turn in list(_TURNS):
        turn._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
