"""`ferrocnn evaluate`: its numbers, counted again from what `predict` says."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_cases import (
    CLASSES,
    ZOO,
    error_line,
    invoke,
    python,
    read_json,
    succeed,
    write_images,
)

import ferrocnn
from ferrocnn.cli.evaluate import commonest_mistakes


class TestEvaluate:
    def truth(
        self, model: Path, folder: Path, names: tuple[str, ...] = CLASSES
    ) -> tuple[np.ndarray, float]:
        """Confusion and mean loss, counted from what `predict` says of each file."""
        confusion = np.zeros((len(names), len(names)), int)
        losses = []
        for item in read_json(succeed("predict", model, folder, "--json")):
            name = Path(item["path"]).parent.name
            confusion[names.index(name), names.index(item["class"])] += 1
            losses.append(-np.log(item["probabilities"][name]))
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

    def test_four_classes_agree_with_predict(self, zoo_model: Path, zoo: Path) -> None:
        confusion, loss = self.truth(zoo_model, zoo, ZOO)
        found = read_json(succeed("evaluate", zoo_model, zoo, "--json"))
        assert found["confusion"] == confusion.tolist()
        assert found["loss"] == pytest.approx(loss, rel=1e-4)
        assert found["class_names"] == list(ZOO)
        assert found["support"] == [5, 6, 7, 6]
        assert found["recall"] == pytest.approx(np.diag(confusion) / [5, 6, 7, 6])
        assert found["balanced_accuracy"] == pytest.approx(np.mean(found["recall"]))
        assert 0.5 < found["accuracy"] < 1  # it has learnt something; the stray image is counted

    @pytest.mark.parametrize("which", ["two", "four"])
    def test_text_has_the_same_numbers(
        self, which: str, model: Path, unseen: Path, zoo_model: Path, zoo: Path
    ) -> None:
        words, names = {"two": ((model, unseen), CLASSES), "four": ((zoo_model, zoo), ZOO)}[which]
        found = read_json(succeed("evaluate", *words, "--json"))
        lines = [line.split() for line in succeed("evaluate", *words).stdout.splitlines()]
        assert lines[:6] == [
            ["images", f"{found['count']}"],
            ["accuracy", f"{found['accuracy']:.4f}"],
            ["balanced", "accuracy", f"{found['balanced_accuracy']:.4f}"],
            ["F1", f"{found['f1']:.4f}"],
            ["AUC", f"{found['auc']:.4f}"],
            ["loss", f"{found['loss']:.4f}"],
        ]
        k = len(names)
        for label, row in enumerate(lines[8 : 8 + k]):
            shares = [f"{found[share][label]:.4f}" for share in ("precision", "recall")]
            assert row[:3] == [names[label], *shares]
            assert row[4] == str(found["support"][label])
        header, *rows = lines[-k - 1 :]
        assert header == ["true", *names]
        for row, name, counts in zip(rows, names, found["confusion"], strict=True):
            assert row == [name, *map(str, counts)]

    def test_many_classes_name_the_commonest_mistakes(self, tmp_path: Path) -> None:
        names = tuple(f"n{label:02d}" for label in range(21))
        folder = write_images(tmp_path / "data", 2, seed=5, classes=names[:3])
        model = ferrocnn.CNN((8, 8, 3), [(2, 3)], [21], seed=0)
        model.class_names, model.preprocessing = names, ferrocnn.Preprocessing((8, 8))
        # Whatever it sees, it names the third.
        model.set_parameters({n: np.zeros_like(p) for n, p in model.parameters().items()})
        model.parameters()["dense1.bias"][2] = 1
        model.save(tmp_path / "model.npz")
        lines = succeed("evaluate", tmp_path / "model.npz", folder).stdout.splitlines()
        assert lines[-3:] == ["", "n00 taken for n02: 2", "n01 taken for n02: 2"]

    def test_commonest_mistakes_come_first(self) -> None:
        confusion = np.array([[90, 1, 0], [4, 90, 2], [0, 1234, 0]])
        assert commonest_mistakes(confusion, ("a", "b", "c")) == [
            "c taken for b: 1,234",
            "b taken for a: 4",
            "b taken for c: 2",
            "a taken for b: 1",
        ]
        assert commonest_mistakes(np.eye(3, dtype=np.int64), ("a", "b", "c")) == []

    def test_threshold_decides_between_two_classes(self, model: Path, unseen: Path) -> None:
        items = read_json(succeed("predict", model, unseen, "--json"))
        threshold = sorted(item["probabilities"]["Dog"] for item in items)[3] - 1e-6
        result = succeed("evaluate", model, unseen, "--json", "--threshold", f"{threshold:.9f}")
        assert sum(row[1] for row in read_json(result)["confusion"]) == 9

    def test_threshold_with_more_outputs(self, zoo_model: Path, zoo: Path) -> None:
        line = error_line(invoke("evaluate", zoo_model, zoo, "--threshold", "0.4"))
        assert (
            "--threshold: expected a model of two classes with one output, got one with 4" in line
        )
        assert invoke("evaluate", zoo_model, zoo, "--threshold", "1").exit_code == 2

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
        assert found["auc"] is None
        assert ["AUC", "-"] in map(
            str.split, succeed("evaluate", model, folder).stdout.splitlines()
        )

    def test_pair_is_evaluated_on_val(self, model: Path, tmp_path: Path) -> None:
        write_images(tmp_path / "both" / "train", 5, seed=8)
        val = write_images(tmp_path / "both" / "val", 3, seed=9)
        result = succeed("evaluate", model, tmp_path / "both", "--json")
        alone = read_json(succeed("evaluate", model, val, "--json"))
        assert read_json(result) == alone
        assert alone["count"] == 6
        assert "val" in result.stderr

    def test_classes_without_images(self, zoo_model: Path, zoo: Path, tmp_path: Path) -> None:
        folder = write_images(tmp_path / "val", 3, seed=11, classes=("Bee", "Dog"))
        found = read_json(succeed("evaluate", zoo_model, folder, "--json"))
        assert found["support"] == [0, 3, 0, 3]
        assert found["class_names"] == list(ZOO)

    def test_other_classes(self, model: Path, tmp_path: Path) -> None:
        folder = write_images(tmp_path / "birds", 2, seed=10, classes=("Bird", "Cat"))
        line = error_line(invoke("evaluate", model, folder))
        assert "Bird" in line
        assert "Dog" in line

    def test_stdout_is_json_alone(self, model: Path, pets: Path) -> None:
        result = python("evaluate", model, pets, "--json")
        assert json.loads(result.stdout)["count"] == 40
        assert "skipped" in result.stderr
