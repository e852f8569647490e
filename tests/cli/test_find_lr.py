"""`ferrocnn find-lr`: the rate of `suggest_learning_rate`, and its picture."""

import shutil
from pathlib import Path

import pytest
from cli_cases import ZOO, error_line, invoke, python, succeed, write_images
from PIL import Image

import ferrocnn
from ferrocnn.recipes import RECIPES


class TestFindLr:
    def test_prints_what_the_library_suggests(self, zoo: Path, tmp_path: Path) -> None:
        picture = tmp_path / "lr.png"
        result = succeed("find-lr", zoo, "--recipe", "classic", "--plot", picture, "--seed", "3")
        recipe = RECIPES["classic"]
        found = ferrocnn.suggest_learning_rate(
            recipe.model(4, seed=3),
            ferrocnn.load_images(zoo),
            optimizer=recipe.training()["optimizer"],
            seed=3,
        )
        assert result.stdout == f"{found.suggestion:.2g}\n"
        assert "4 classes" in result.stderr
        assert "0.002" in result.stderr  # that of the recipe
        assert f"--recipe classic --learning-rate {found.suggestion:.2g}" in result.stderr
        with Image.open(picture) as image:
            assert image.format == "PNG"

    def test_of_a_pair_train_is_used(self, zoo: Path, tmp_path: Path) -> None:
        shutil.copytree(zoo, tmp_path / "both" / "train")
        write_images(tmp_path / "both" / "val", 2, seed=5, classes=ZOO)
        words = ("--recipe", "classic")
        pair, alone = (
            succeed("find-lr", folder, *words).stdout for folder in (tmp_path / "both", zoo)
        )
        assert pair == alone

    def test_a_picture_that_cannot_be_written(self, zoo: Path, tmp_path: Path) -> None:
        line = error_line(invoke("find-lr", zoo, "--plot", tmp_path / "absent" / "lr.png"))
        assert "--plot: expected a file in an existing folder" in line

    def test_without_matplotlib(self, zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert "pip install 'ferrocnn[plot]'" in error_line(
            invoke("find-lr", zoo, "--plot", "lr.png")
        )

    def test_no_folder(self, tmp_path: Path) -> None:
        result = python("find-lr", tmp_path / "absent")
        assert result.returncode == 1
        assert "folder: expected" in result.stderr
