"""What holds for every command: usage, exit codes, JSON, model files that cannot be used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_cases import error_line, invoke, python, succeed

import ferrocnn
from ferrocnn.cli import main
from ferrocnn.cli.common import command_line, echo_json


class TestProgram:
    def test_version(self) -> None:
        assert succeed("--version").stdout == f"ferrocnn {ferrocnn.__version__}\n"

    def test_module_is_the_same_program(self, tmp_path: Path) -> None:
        result = python("--version", cwd=tmp_path)
        assert result.stdout == f"ferrocnn {ferrocnn.__version__}\n"

    @pytest.mark.parametrize("command", ["train", "find-lr", "evaluate", "predict", "info", "demo"])
    def test_help_has_an_example(self, command: str) -> None:
        assert command in succeed("--help").stdout
        assert f"  ferrocnn {command}" in succeed(command, "--help").stdout

    @pytest.mark.parametrize(
        "words",
        [
            ["fly"],
            ["train"],
            ["train", "x", "--recipe", "magic"],
            ["train", "x", "--patience", "0"],
            ["train", "x", "--average", "1"],
            ["train", "x", "--class-weight", "heavy"],
            ["train", "x", "--label-smoothing", "-0.1"],
            ["train", "x", "--epochs", "0"],
            ["train", "x", "--batch-size", "0"],
            ["train", "x", "--image-size", "3"],
            ["train", "x", "--learning-rate", "0"],
            ["train", "x", "--learning-rate", "nan"],
            ["train", "x", "--learning-rate", "inf"],
            ["train", "x", "--val-fraction", "1"],
            ["train", "x", "--optimizer", "magic"],
            ["train", "x", "--seed", "-1"],
            ["find-lr"],
            ["find-lr", "x", "--recipe", "magic"],
            ["find-lr", "x", "--seed", "-1"],
            ["evaluate", "x"],
            ["evaluate", "x", "y", "--threshold", "0"],
            ["predict", "x", "y", "--threshold", "nan"],
            ["predict", "x"],
            ["info"],
            ["demo", "x"],
        ],
        ids=" ".join,
    )
    def test_wrong_usage_exits_2(self, words: list[str]) -> None:
        result = invoke(*words)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert "Usage: ferrocnn" in result.stderr

    def test_help_loads_no_heavy_library(self) -> None:
        code = (
            "import sys; from click.testing import CliRunner; from ferrocnn.cli import main;"
            "CliRunner().invoke(main, ['train', '--help']); print(*sys.modules)"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        loaded = {name.partition(".")[0] for name in result.stdout.split()}
        assert "ferrocnn" in loaded
        assert not loaded & {"PIL", "tqdm", "matplotlib"}

    @pytest.mark.parametrize("name", ["FERROCNN_NUM_THREADS", "FERROCNN_ISA"])
    @pytest.mark.parametrize("as_module", [True, False])
    def test_a_wrong_variable_is_one_line(self, name: str, as_module: bool, tmp_path: Path) -> None:
        script = tmp_path / "ferrocnn"
        script.write_text("from ferrocnn.cli import main; main()")
        start = ["-m", "ferrocnn"] if as_module else [str(script)]
        result = subprocess.run(
            [sys.executable, *start, "train", "x"],
            env={**os.environ, name: "magic"},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 1
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"ferrocnn: error: {name}: expected")

    def test_json_has_no_nan(self, capsys: pytest.CaptureFixture[str]) -> None:
        echo_json({"loss": [float("nan"), float("-inf"), 0.5], "nested": {"a": (float("inf"),)}})
        expected = {"loss": [None, None, 0.5], "nested": {"a": [None]}}
        assert json.loads(capsys.readouterr().out) == expected

    @pytest.mark.parametrize(
        ("started", "on_path", "expected"),
        [
            ("/somewhere/bin/ferrocnn", True, "ferrocnn info 'a b.npz'"),
            ("/somewhere/bin/ferrocnn", False, "/somewhere/bin/ferrocnn info 'a b.npz'"),
            ("/somewhere/ferrocnn/__main__.py", False, "python -m ferrocnn info 'a b.npz'"),
        ],
    )
    def test_printed_commands_start_as_this_one_did(
        self, monkeypatch: pytest.MonkeyPatch, started: str, on_path: bool, expected: str
    ) -> None:
        monkeypatch.setattr("sys.argv", [started])
        monkeypatch.setattr("shutil.which", lambda name: started if on_path else None)
        name = "python -m ferrocnn" if started.endswith(".py") else "ferrocnn"
        with main.make_context(name, ["info", "x"]):
            assert command_line("info", Path("a b.npz")) == expected


class TestModelFile:
    @pytest.mark.parametrize("words", [["info"], ["predict", "x.png"], ["evaluate", "x"]])
    def test_that_cannot_be_used(self, words: list[str], tmp_path: Path) -> None:
        path = tmp_path / "broken.npz"
        assert str(path) in error_line(invoke(words[0], path, *words[1:]))
        path.write_bytes(b"PK\x03\x04 and then nonsense")
        assert str(path) in error_line(invoke(words[0], path, *words[1:]))

    @pytest.mark.parametrize("words", [["info"], ["predict", "x.png"], ["evaluate", "x"]])
    def test_that_is_something_else(
        self, words: list[str], pets: Path, model: Path, tmp_path: Path
    ) -> None:
        line = error_line(invoke(words[0], tmp_path, *words[1:]))
        assert line == f"ferrocnn: error: MODEL: expected a model file, got the folder {tmp_path}"
        run = pets.parent / "runs" / "first"
        line = error_line(invoke(words[0], run, *words[1:]))
        assert line.endswith(f"got the folder {run}; did you mean {run / 'best.npz'}?")
        picture = pets / "Cat" / "000.png"
        line = error_line(invoke(words[0], picture, *words[1:]))
        assert line.endswith(f"got the picture {picture}; the model comes first")

    @pytest.mark.parametrize("words", [["predict", "x.png"], ["evaluate", "x"]])
    def test_that_was_trained_on_bare_arrays(self, words: list[str], tmp_path: Path) -> None:
        path = tmp_path / "bare.npz"
        ferrocnn.CNN(input_shape=(8, 8, 3), seed=0).save(path)
        assert "bare arrays" in error_line(invoke(words[0], path, *words[1:]))
        assert "8 x 8 x 3" in succeed("info", path).stdout
