"""A process for each peer: it holds what it has built, and runs a slice of it when it is told to.

Frameworks in one process fight over threads, and a process that starts anew for each slice would
be measured cold. So the workers live through a whole run and take turns.
"""

import importlib
import math
import multiprocessing
import os
import re
import sys
import time
import traceback
from pathlib import Path

from benches.networks import images

_SPAWN = multiprocessing.get_context("spawn")
# Different batches that a timed slice goes round, so that no input stays in the cache.
BATCHES = 4
# What others do to get the most out of a processor: freed memory is kept, in huge pages. It makes
# TensorFlow an eighth faster and PyTorch up to a third. ferrocnn runs as it is installed.
_KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def environment(threads):
    """What the frameworks read when they are imported."""
    count = str(threads)
    return {
        "OMP_NUM_THREADS": count,  # PyTorch, and ONNX Runtime by its adapter
        "OPENBLAS_NUM_THREADS": count,
        "FERROCNN_NUM_THREADS": count,
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": count,
        "TF_ENABLE_ONEDNN_OPTS": "1",  # not the default on every processor, and far faster
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
    }


class PeerError(Exception):
    """What went wrong in a worker, as its traceback."""


class Worker:
    """The parent's end. `worker.method(...)` calls that method of `Bench` in the process."""

    def __init__(self, module, threads, *, keep_memory=True):
        self.idle_share = 0.0  # of one processor, the most that it used while it waited
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(module, theirs))
        before = dict(os.environ)
        os.environ.update(environment(threads))
        if keep_memory and module != "ferrocnn":
            os.environ.update(_KEEP_MEMORY)
        try:
            self._process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        theirs.close()

    def __getattr__(self, method):
        if method.startswith("_"):
            raise AttributeError(method)

        def call(*arguments):
            try:
                self._pipe.send((method, arguments))
                error, result, idle_share = self._pipe.recv()
            except (EOFError, BrokenPipeError):
                raise PeerError("the process ended") from None
            self.idle_share = max(self.idle_share, idle_share)
            if error:
                raise PeerError(error)
            return result

        return call

    def close(self):
        self._pipe.close()
        self._process.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _serve(module, pipe):
    # Frameworks greet with pages of log; what is an error comes back through the pipe.
    log = os.open(f"target/bench-{module}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, sys.stderr.fileno())
    bench = None
    while True:
        waited_from, used_from = time.perf_counter(), time.process_time()
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        waited = time.perf_counter() - waited_from
        # A thread may spin on for a moment after its work; a long wait shows who never stops.
        idle_share = (time.process_time() - used_from) / waited if waited > 1 else 0.0
        try:
            bench = bench or Bench(module)
            pipe.send((None, getattr(bench, method)(*arguments), idle_share))
        except Exception:
            pipe.send((traceback.format_exc(), None, idle_share))


class Bench:
    """The process's end."""

    def __init__(self, module):
        self._peer = importlib.import_module(f"benches.peers.{module}")
        self._tasks = {}

    def describe(self):
        """Name, versions, and the variants for training and for inference."""
        peer = self._peer
        return peer.NAME, peer.versions(), {"training": peer.TRAINING, "inference": peer.INFERENCE}

    def gradients(self, network, parameters, variant, X, y):
        trainer = self._peer.trainer(network, parameters, variant)
        return trainer.gradients(trainer.place(X, y))

    def probabilities(self, network, parameters, variant, X):
        predictor = self._peer.predictor(network, parameters, variant, len(X))
        return predictor.predict(predictor.place(X)).reshape(-1)

    def prepare(self, kind, key, network, parameters, variant, batch_size):
        """Build under `key` what takes training steps or gives probabilities, and warm it up."""
        X, y = images(BATCHES * batch_size)
        parts = [slice(k * batch_size, (k + 1) * batch_size) for k in range(BATCHES)]
        if kind == "training":
            trainer = self._peer.trainer(network, parameters, variant)
            batches = [trainer.place(X[part], y[part]) for part in parts]
            self._tasks[key] = _Task(trainer.step, trainer.finish, batches)
        else:
            predictor = self._peer.predictor(network, parameters, variant, batch_size)
            batches = [predictor.place(X[part]) for part in parts]
            self._tasks[key] = _Task(predictor.predict, lambda: None, batches)

    def run(self, key, seconds):
        """Run a slice of about `seconds`; return the seconds of a step or call, on average."""
        return self._tasks[key].run(seconds)

    def forget(self, key):
        del self._tasks[key]

    def call(self, function, *arguments):
        """Call something that only this peer's module has."""
        return getattr(self._peer, function)(*arguments)

    def peak_memory(self, network, parameters, variant, count):
        """Megabytes at most in this process, which has to be a fresh one."""
        X, y = images(count)
        self._peer.trainer(network, parameters, variant).epochs(X, y, 1)
        # getrusage would count what the parent held before this program took its place.
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1000

    def folder(self, folder, network, parameters, variant, epochs):
        """Seconds to decode a folder of photographs, and to train on it. Imports do not count."""
        tune = getattr(self._peer, "tune_decoding", None)
        if tune:
            tune(folder)
        trainer = self._peer.trainer(network, parameters, variant)
        start = time.perf_counter()
        X, y = self._peer.decode_folder(folder)
        decoded = time.perf_counter()
        trainer.epochs(X, y, epochs)
        return decoded - start, time.perf_counter() - decoded


class _Task:
    def __init__(self, step, finish, batches):
        self._step, self._finish, self._batches = step, finish, batches
        self._repeat(3)  # compilers work in the first, and some again in the second
        self._seconds = self._repeat(1)

    def run(self, seconds):
        self._seconds = self._repeat(math.ceil(seconds / self._seconds))
        return self._seconds

    def _repeat(self, count):
        start = time.perf_counter()
        for k in range(count):
            self._step(self._batches[k % len(self._batches)])
        self._finish()
        return (time.perf_counter() - start) / count
