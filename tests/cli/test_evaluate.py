"""`ferrocnn evaluate`: its numbers, counted again from what `predict` says."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from cli_cases import CLASSES, error_line, invoke, python, read_json, succeed, write_images


class TestEvaluate:
    def truth(self, model: Path, folder: Path) -> tuple[np.ndarray, float]:
        """Confusion and mean loss, counted from what `predict` says of each file."""
        confusion = np.zeros((2, 2), int)
        losses = []
        for item in read_json(succeed("predict", model, folder, "--json")):
            name = Path(item["path"]).parent.name
            confusion[CLASSES.index(name), CLASSES.index(item["class"])] += 1
            right = item["class"] == name
            losses.append(-np.log(item["probability"] if right else 1 - item["probability"]))
        return confusion, float(np.mean(losses))

    def test_json_agrees_with_predict(self, model: Path, unseen: Path) -> None:
        confusion, loss = self.truth(model, unseen)
        found = read_json(succeed("evaluate", model, unseen, "--json"))
        assert found["confusion"] == confusion.tolist()
        assert found["accuracy"] == pytest.approx(np.trace(confusion) / 12)
        assert found["loss"] == pytest.approx(loss, rel=1e-4)
        assert (found["count"], found["skipped"]) == (12, 0)
        assert found["class_names"] == ["Cat", "Dog"]
        assert found["accuracy"] < 1  # the stray image is counted

    def test_text_has_the_same_numbers(self, model: Path, unseen: Path) -> None:
        found = read_json(succeed("evaluate", model, unseen, "--json"))
        lines = succeed("evaluate", model, unseen).stdout.splitlines()
        assert f"accuracy  {found['accuracy']:.4f}" in lines
        assert f"loss      {found['loss']:.4f}" in lines
        header, *rows = (re.split(r"\s{2,}", line.strip()) for line in lines[-3:])
        assert header == ["predicted Cat", "predicted Dog", "right"]
        for row, name, counts in zip(rows, CLASSES, found["confusion"], strict=True):
            assert row[:3] == [f"true {name}", *map(str, counts)]

    def test_counts_skipped_files_and_names_them(self, model: Path, pets: Path) -> None:
        result = succeed("evaluate", model, pets, "--json")
        assert (read_json(result)["count"], read_json(result)["skipped"]) == (40, 2)
        assert "666.jpg" in result.stderr

    def test_takes_images_from_the_cache(self, model: Path, unseen: Path, cache: Path) -> None:
        without = succeed("evaluate", model, unseen, "--no-cache")
        assert not cache.exists()
        results = [succeed("evaluate", model, unseen) for _ in range(2)]
        assert ["all from the cache" in result.stderr for result in results] == [False, True]
        assert results[0].stdout == results[1].stdout == without.stdout
        again = succeed("evaluate", model, unseen, "--no-cache")
        assert "cache" not in again.stderr

    def test_a_cache_that_cannot_be_written_costs_one_line(
        self, model: Path, unseen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("FERROCNN_CACHE_DIR", str(tmp_path / "file" / "cache"))
        result = python("evaluate", model, unseen)
        assert result.returncode == 0
        lines = [line for line in result.stderr.splitlines() if "not cached" in line]
        assert len(lines) == 1
        assert str(tmp_path / "file") in lines[0]

    def test_folder_of_one_class(self, model: Path, tmp_path: Path) -> None:
        folder = write_images(tmp_path / "dogs", 4, seed=7, classes=("Cat", "Dog"))
        for path in (folder / "Cat").iterdir():
            path.unlink()
        (folder / "Cat").rmdir()
        found = read_json(succeed("evaluate", model, folder, "--json"))
        assert found["confusion"][0] == [0, 0]
        assert sum(found["confusion"][1]) == found["count"] == 4
        assert "-" in succeed("evaluate", model, folder).stdout

    def test_pair_is_evaluated_on_val(self, model: Path, tmp_path: Path) -> None:
        write_images(tmp_path / "both" / "train", 5, seed=8)
        val = write_images(tmp_path / "both" / "val", 3, seed=9)
        result = succeed("evaluate", model, tmp_path / "both", "--json")
        alone = read_json(succeed("evaluate", model, val, "--json"))
        assert read_json(result) == alone
        assert alone["count"] == 6
        assert "val" in result.stderr

    def test_other_classes(self, model: Path, tmp_path: Path) -> None:
        folder = write_images(tmp_path / "birds", 2, seed=10, classes=("Bird", "Cat"))
        line = error_line(invoke("evaluate", model, folder))
        assert "Bird" in line
        assert "Dog" in line

    def test_stdout_is_json_alone(self, model: Path, pets: Path) -> None:
        result = python("evaluate", model, pets, "--json")
        assert json.loads(result.stdout)["count"] == 40
        assert "skipped" in result.stderr
