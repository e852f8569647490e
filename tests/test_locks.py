"""One process at a time trains a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ferrocnn
from run_cases import fit, make_model, weights


def test_one_process_at_a_time_trains_a_run(tmp_path: Path) -> None:
    run, lock, held = tmp_path / "run", tmp_path / "run" / "lock", []
    # Waits for the end of its input, as the other training that goes on meanwhile.
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    def stop(model: ferrocnn.CNN, history: ferrocnn.History) -> None:
        held.append(lock.read_text())
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            fit("sgd", run, callbacks=[stop])
        assert held == [f"{os.getpid()}\n"]
        assert not lock.exists()

        lock.write_text(f"{other.pid}\n")
        before = {path: path.read_bytes() for path in run.iterdir()}
        model = make_model("sgd", seed=7)
        own = weights(model)
        with pytest.raises(ValueError, match=rf"^run: .*is being trained by process {other.pid};"):
            fit("sgd", run, model)
        assert weights(model) == own
        assert {path: path.read_bytes() for path in run.iterdir()} == before
    finally:
        other.communicate(b"\n")
    for left in (f"{other.pid}\n", "", f"{os.getpid()}\n", "-1", "9" * 30):
        lock.write_text(left)  # of a process that was killed
        with pytest.raises(KeyboardInterrupt):
            fit("sgd", run, callbacks=[stop])
        assert held.pop() == f"{os.getpid()}\n"
        assert not lock.exists()
    fit("sgd", run)
