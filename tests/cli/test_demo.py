"""`ferrocnn demo`, with fewer drawings."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from cli_cases import read_json, succeed
from PIL import Image


class TestDemo:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ferrocnn.cli.demo.DRAWINGS_PER_CLASS", 20)
        monkeypatch.setattr("ferrocnn.cli.demo.HELD_BACK_PER_CLASS", 5)
        monkeypatch.setattr("ferrocnn.cli.demo.EPOCHS", 2)

    def test_makes_drawings_a_model_and_a_picture(self, tmp_path: Path) -> None:
        out = tmp_path / "some" / "demo"
        result = succeed("demo", "--out", out)
        assert "32 drawings to train on, 8 to validate on" in result.stdout
        accuracy = re.search(r"accuracy (\S+) on 10 drawings held back", result.stdout)
        assert accuracy
        measured = read_json(succeed("evaluate", out / "model.npz", out / "held-back", "--json"))
        assert float(accuracy[1]) == pytest.approx(measured["accuracy"], abs=1e-4)
        with Image.open(out / "demo.png") as picture:
            assert picture.format == "PNG"
        for name in ("model.npz", "demo.png"):
            assert str(out / name) in result.stdout

    def test_held_back_drawings_are_others(self, tmp_path: Path) -> None:
        succeed("demo", "--out", tmp_path)
        seen, held_back = (
            {path.read_bytes() for path in (tmp_path / name).rglob("*.jpg")}
            for name in ("drawings", "held-back")
        )
        assert (len(seen), len(held_back)) == (40, 10)
        assert not seen & held_back

    def test_leaves_the_cache_alone(self, tmp_path: Path, cache: Path) -> None:
        succeed("demo", "--out", tmp_path / "demo")
        assert not cache.exists()

    def test_commands_that_it_prints_work(self, tmp_path: Path) -> None:
        output = succeed("demo", "--out", tmp_path).stdout
        commands = output.partition("What to type next:\n")[2].splitlines()
        predict, evaluate, train = (shlex.split(line, comments=True)[1:] for line in commands)
        succeed(*predict)
        succeed(*evaluate)
        assert train == ["train", "FOLDER"]

    def test_goes_on_without_matplotlib(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        result = succeed("demo", "--out", tmp_path)
        assert "matplotlib" in result.stderr
        assert (tmp_path / "model.npz").is_file()
        assert not (tmp_path / "demo.png").exists()
