"""Runs of `ferrocnn train`: their folders, and how they are stopped and resumed."""

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_cases import CLASSES, error_line, invoke, succeed, write_images
from click.testing import Result

import ferrocnn
from ferrocnn import CNN, Run
from ferrocnn.callbacks import SaveLast

OPTIONS = ("--image-size", "16", "--epochs", "4", "--batch-size", "8", "--seed", "3")
OPTIONS += ("--average", "0.9", "--class-weight", "balanced")
STEPS = 4 * 4  # of 32 images in 4 epochs


def begin(pets: Path, name: str) -> Result:
    return invoke("train", pets, *OPTIONS, "--name", name, "--out", f"{name}.npz")


def outcome(name: str) -> list[Any]:
    """All that a run leaves, but for its seconds and its own name."""
    run = Path("runs", name)
    found: list[Any] = []
    for path in (run / "state.npz", run / "best.npz", run / "last.npz", Path(f"{name}.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                value = arrays[key].tobytes()
                if key == "position":
                    position = json.loads(str(arrays[key]))
                    del position["history"]["seconds"]
                    value = position
                found.append((path.name.replace(name, "out"), key, value))
    with open(run / "results.csv", newline="") as file:
        for row in csv.DictReader(file):
            del row["seconds"]
            found.append(row)
    found.append((run / "images.csv").read_text())
    return found


def interrupt_step(patch: pytest.MonkeyPatch, number: int) -> None:
    """Send SIGINT in the step of this number, counted from 1."""
    calls, step = 0, CNN.train_step

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            signal.raise_signal(signal.SIGINT)
        return step(*arguments, **options)

    patch.setattr(CNN, "train_step", counted)


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command that is stopped by Ctrl-C in a step."""

    def stopped(number: int, call: Callable[[], Result]) -> Result:
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with monkeypatch.context() as patch:
                interrupt_step(patch, number)
                result = call()
        finally:
            signal.signal(signal.SIGINT, before)
        assert result.exit_code == 130, result.output
        return result

    return stopped


class TestFolder:
    def test_holds_what_the_run_is(self, trained: tuple[Path, Result], pets: Path) -> None:
        run = Run(pets.parent / "runs" / "first")
        settings = run.settings()
        assert settings["command"]["folder"] == str(pets)
        assert settings["command"]["out"] == str(trained[0])
        assert settings["command"]["recipe"] == "classic"
        assert settings["train"]["epochs"] == 6
        assert settings["train"]["seed"] == settings["command"]["seed"] == 3
        assert settings["version"] == ferrocnn.__version__
        with open(run.results, newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == list("123456")
        assert [float(row["val_loss"]) for row in rows] == run.history().val_loss
        best = ferrocnn.load(run.best)
        kept = ferrocnn.load(trained[0])
        assert best.training == kept.training
        assert best.training["epochs"] == run.history().best_epoch
        assert ferrocnn.load(run.last).training["epochs"] == 6
        state, same = best.state(), kept.state()
        assert all(np.array_equal(state[name], same[name]) for name in state)

    def test_lists_the_images(self, trained: tuple[Path, Result], pets: Path) -> None:
        with open(pets.parent / "runs" / "first" / "images.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        _, validation = ferrocnn.load_images(pets, (16, 16)).split(0.2, 3)
        assert len(rows) == 40
        held_back = {row["path"] for row in rows if row["part"] == "validation"}
        assert held_back == {path.relative_to(pets).as_posix() for path in validation.paths}
        assert all(CLASSES[int(row["label"])] == Path(row["path"]).parts[0] for row in rows)

    def test_is_numbered_and_never_overwritten(self, pets: Path) -> None:
        options = ("--image-size", "16", "--epochs", "1")
        for number in (1, 2):
            result = succeed("train", pets, *options)
            assert f"runs/pets-fast-{number}" in result.stdout
        before = Path("runs/pets-fast-1/settings.json").read_bytes()
        line = error_line(invoke("train", pets, *options, "--name", "pets-fast-1"))
        assert line.startswith("ferrocnn: error: --name: ")
        assert "train --resume runs/pets-fast-1" in line
        assert Path("runs/pets-fast-1/settings.json").read_bytes() == before
        Path("runs/mine").mkdir()
        Path("runs/mine/notes.txt").touch()
        assert "runs/mine" in error_line(invoke("train", pets, *options, "--name", "mine"))


class TestResume:
    @pytest.mark.parametrize("steps", [(1,), (4,), (6, 3), (STEPS,)])
    def test_has_the_bits_of_a_run_that_was_not_stopped(
        self, steps: tuple[int, ...], pets: Path, stop: Callable[..., Result]
    ) -> None:
        assert begin(pets, "whole").exit_code == 0
        result = stop(steps[0], lambda: begin(pets, "parts"))
        for step in steps[1:]:
            result = stop(step, lambda: invoke("train", "--resume", "runs/parts"))
        assert not Path("parts.npz").exists()
        said, _, last = result.stderr.splitlines()[-3:]
        assert said.startswith("ferrocnn: interrupted; ")
        command = shlex.split(last)
        assert command[-3:] == ["train", "--resume", "runs/parts"]
        resumed = succeed(*command[-3:])
        assert "parts.npz: epoch" in resumed.stdout
        assert outcome("parts") == outcome("whole")

    def test_a_finished_run_says_so(self, pets: Path) -> None:
        begin(pets, "whole")
        before = outcome("whole")
        Path("whole.npz").rename("elsewhere.npz")
        result = succeed("train", "--resume", "runs/whole")
        assert "runs/whole is finished" in result.stdout
        assert outcome("whole") == before  # the model is there again
        for _ in range(2):
            assert f"{Path('whole.npz').absolute()}: epoch" in result.stdout
            assert "replaced" not in result.stdout
            commands = result.stdout.partition("What to type next:\n")[2].splitlines()
            words = [shlex.split(line)[1:] for line in commands]
            assert [command[0] for command in words] == ["predict", "evaluate", "info"]
            assert {command[1] for command in words} == {str(Path("whole.npz").absolute())}
            result = succeed("train", "--resume", "runs/whole")

        Path("whole.npz").write_bytes(b"of another run")
        result = succeed("train", "--resume", "runs/whole")
        assert f"{Path('whole.npz').absolute()} has changed since" in result.stdout
        assert shlex.split(result.stdout.splitlines()[-1])[1:] == ["info", "runs/whole/best.npz"]
        assert Path("whole.npz").read_bytes() == b"of another run"

    def test_a_finished_run_replaces_an_older_model(self, pets: Path) -> None:
        begin(pets, "whole")
        before = outcome("whole")
        age = Run("runs/whole").best.stat().st_mtime_ns - 1  # killed before it was replaced

        Path("whole.npz").write_bytes(b"")
        os.utime("whole.npz", ns=(age, age))
        succeed("train", "--resume", "runs/whole")
        assert outcome("whole") == before

        Path("whole.npz").write_bytes(b"no model")
        os.utime("whole.npz", ns=(age, age))
        assert "--out" in error_line(invoke("train", "--resume", "runs/whole"))
        assert Path("whole.npz").read_bytes() == b"no model"

    def test_ctrl_c_at_the_end_of_the_last_epoch_leaves_the_model(
        self, pets: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin(pets, "whole")
        shutil.copy("whole.npz", "parts.npz")
        os.utime("parts.npz", (0, 0))
        save = SaveLast.__call__

        def signalled(callback: SaveLast, model: CNN, history: ferrocnn.History) -> None:
            if history.epochs == 4:
                signal.raise_signal(signal.SIGINT)
            save(callback, model, history)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(SaveLast, "__call__", signalled)
                result = begin(pets, "parts")
        finally:
            signal.signal(signal.SIGINT, before)
        assert result.exit_code == 130
        last = result.stderr.splitlines()[-1]
        assert "at the end of the run; the best epoch is kept: parts.npz: epoch" in last
        assert os.stat("parts.npz").st_mtime > 0
        assert outcome("parts") == outcome("whole")

    @pytest.mark.parametrize(
        ("words", "parts"),
        [
            (("--epochs", "9"), ("--epochs", "learning rate of every step")),
            (("--seed", "3"), ("--seed", "own settings")),
            (("FOLDER",), ("FOLDER", "own settings")),
        ],
    )
    def test_settings_are_refused(self, words: tuple[str, ...], parts: tuple[str, ...]) -> None:
        result = invoke("train", "--resume", "runs/x", *words)
        assert result.exit_code == 2
        assert all(part in result.stderr for part in parts)

    def test_images_that_changed_are_named(
        self, tmp_path: Path, stop: Callable[..., Result]
    ) -> None:
        pets = write_images(tmp_path / "pets", 20, seed=1)
        stop(6, lambda: begin(pets, "parts"))

        def line() -> str:
            result = invoke("train", "--resume", "runs/parts")
            assert "going on" not in result.stdout
            return error_line(result)

        shutil.copy(pets / "Cat" / "000.png", pets / "Cat" / "new.png")
        assert line().startswith("ferrocnn: error: --resume: expected the 40 images")
        assert "1 new: Cat/new.png" in line()
        (pets / "Cat" / "new.png").unlink()
        (pets / "Dog" / "001.png").rename(tmp_path / "001.png")
        assert "(1 gone: Dog/001.png)" in line()
        shutil.copy(pets / "Dog" / "002.png", pets / "Dog" / "001.png")
        assert "(1 with other content: Dog/001.png)" in line()
        (pets / "Dog").rename(pets / "Hound")
        assert "Hound" in line()
        (pets / "Hound").rename(pets / "Dog")
        (tmp_path / "001.png").rename(pets / "Dog" / "001.png")
        result = succeed("train", "--resume", "runs/parts")
        assert "going on with runs/parts after 1 epoch\n" in result.stdout

    def test_a_run_that_is_being_trained(self, pets: Path, stop: Callable[..., Result]) -> None:
        stop(6, lambda: begin(pets, "parts"))
        Path("runs/parts/lock").write_text(str(os.getppid()))
        result = invoke("train", "--resume", "runs/parts")
        assert f"runs/parts, which is being trained by process {os.getppid()}" in error_line(result)
        assert result.stdout == ""  # before the images are read

    def test_images_that_are_gone(self, tmp_path: Path, stop: Callable[..., Result]) -> None:
        pets = write_images(tmp_path / "pets", 20, seed=1)
        stop(6, lambda: begin(pets, "parts"))
        pets.rename(tmp_path / "moved")
        line = error_line(invoke("train", "--resume", "runs/parts"))
        assert line.startswith("ferrocnn: error: --resume: expected the images of runs/parts in ")
        assert str(pets) in line

    def test_what_is_no_run_of_the_command_line(self) -> None:
        line = error_line(invoke("train", "--resume", "runs/x"))
        assert line.startswith("ferrocnn: error: --resume: expected the folder of a run")
        assert "runs/x" in line
        assert line.endswith("; runs holds none here")
        for number in range(6):
            folder = Path("runs", f"pets-{number}")
            folder.mkdir(parents=True)
            (folder / "settings.json").touch()
            os.utime(folder / "settings.json", (number, number))
        Path("runs/begun-never").mkdir()
        newest = ", ".join(f"runs/pets-{number}" for number in (5, 4, 3, 2, 1))
        assert error_line(invoke("train", "--resume", "runs/x")).endswith(f": {newest}, ...")
        X = np.zeros((4, 4, 4, 3), np.uint8)
        model = CNN((4, 4, 3), [(2, 3)], [1], seed=0)
        ferrocnn.train(model, X, [0, 1, 0, 1], epochs=1, progress=False, run="mine")
        assert "resume=True" in error_line(invoke("train", "--resume", "mine"))
        Path("mine/settings.json").write_text("{")
        assert "settings.json" in error_line(invoke("train", "--resume", "mine"))

    def test_ctrl_c_before_the_run_began_leaves_none(
        self, pets: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("ferrocnn.training.train", interrupted)
        result = invoke("train", pets, "--image-size", "16")
        assert result.exit_code == 130
        assert result.stderr.splitlines()[-1] == "ferrocnn: interrupted"
        assert list(Path("runs").iterdir()) == []
        assert not Path("model.npz").exists()

    @pytest.mark.parametrize("times", [1, 2])
    def test_ctrl_c_in_a_program(self, times: int, pets: Path) -> None:
        # The handler is set by hand: a test run in the background may inherit "ignore".
        code = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
            "from ferrocnn.cli import main; main(prog_name='ferrocnn')"
        )
        words = ["train", pets, "--image-size", "16", "--epochs", "1000000", "--name", "long"]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        try:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if re.search(r"\bepoch 3/1000000\b", line):
                    for _ in range(times):
                        process.send_signal(signal.SIGINT)
                    break
            output = "".join(lines) + process.communicate(timeout=60)[0]
        finally:
            process.kill()
        assert process.returncode == 130, output
        assert "Traceback" not in output
        said, heading, last = output.splitlines()[-3:]
        assert said.startswith("ferrocnn: interrupted; the best epoch so far is kept: runs/long")
        assert heading == "What to type next:"
        assert re.fullmatch(r"  \S+ train --resume runs/long", last)
        if times == 1:  # a second one may come before the line is out
            assert output.count("finishing the batch; Ctrl-C again stops at once\n") == 1
        run = Run("runs/long")
        assert run.history().epochs >= 3
        assert ferrocnn.load(run.best).class_names == CLASSES
        assert {path.name for path in run.folder.iterdir()} == {
            "settings.json", "images.csv", "results.csv", "state.npz", "best.npz", "last.npz",
        }  # fmt: skip
