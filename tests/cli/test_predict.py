"""`ferrocnn predict`: good files, bad files, folders."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_cases import ZOO, error_line, invoke, python, read_json, succeed
from PIL import Image

import ferrocnn


class TestPredict:
    def test_a_line_for_each_file(self, model: Path, unseen: Path) -> None:
        files = [unseen / "Dog" / "002.png", unseen / "Cat" / "003.png"]
        lines = succeed("predict", model, *files).stdout.splitlines()
        known = ferrocnn.load(model)
        for path, line in zip(files, lines, strict=True):
            with Image.open(path) as image:
                (truth,) = known.predict([image])
            assert line == f"{path}: {truth.name} {truth.probability:.2f}"

    def test_json(self, model: Path, unseen: Path) -> None:
        files = [unseen / "Dog" / "002.png", unseen / "Cat" / "003.png"]
        items = read_json(succeed("predict", model, *files, "--json"))
        truths = ferrocnn.load(model).predict(files)
        keys = {"path", "class", "probability", "probabilities"}
        assert [item.keys() for item in items] == [keys] * 2
        for item, path, truth in zip(items, files, truths, strict=True):
            assert (item["path"], item["class"]) == (str(path), truth.name)
            assert item["probability"] == pytest.approx(truth.probability, abs=1e-6)
            assert item["probability"] >= 0.5
            assert item["probabilities"][truth.name] == item["probability"]
            assert item["probabilities"].keys() == {"Cat", "Dog"}
            assert sum(item["probabilities"].values()) == pytest.approx(1)

    def test_of_four_classes_the_three_most_probable(self, zoo_model: Path, zoo: Path) -> None:
        files = [zoo / "Ant" / "002.png", zoo / "Dog" / "003.png"]
        shares = ferrocnn.load(zoo_model).predict_proba(files)
        lines = succeed("predict", zoo_model, *files).stdout.splitlines()
        items = read_json(succeed("predict", zoo_model, *files, "--json"))
        for path, row, line, item in zip(files, shares, lines, items, strict=True):
            ranked = sorted(zip(row, ZOO, strict=True), reverse=True)
            assert line == f"{path}: " + ", ".join(f"{name} {p:.2f}" for p, name in ranked[:3])
            assert item["class"] == ranked[0][1]
            assert list(item["probabilities"]) == list(ZOO)
            np.testing.assert_allclose(list(item["probabilities"].values()), row, rtol=1e-6)

    def test_threshold_decides_between_two_classes(self, model: Path, unseen: Path) -> None:
        path = unseen / "Cat" / "003.png"
        (item,) = read_json(succeed("predict", model, path, "--json"))
        dog = item["probabilities"]["Dog"]
        for threshold, name in ((dog * 0.99, "Dog"), (dog * 1.01, "Cat")):
            line = succeed("predict", model, path, "--threshold", f"{threshold:.9f}").stdout
            assert line == f"{path}: {name} {item['probabilities'][name]:.2f}\n"

    def test_threshold_with_more_outputs(self, zoo_model: Path, zoo: Path) -> None:
        line = error_line(invoke("predict", zoo_model, zoo, "--threshold", "0.4"))
        assert "--threshold: expected a model of two classes with one output" in line

    def test_bad_files_do_not_stop_the_others(
        self, model: Path, unseen: Path, tmp_path: Path
    ) -> None:
        text, empty, absent = (tmp_path / name for name in ("a.txt", "empty.jpg", "absent.jpg"))
        text.write_text("no image")
        empty.touch()
        good = unseen / "Cat" / "001.png"
        result = invoke("predict", model, text, empty, absent, good)
        assert [line.split(": ")[0] for line in result.stdout.splitlines()] == [str(good)]
        for path in (text, empty, absent):
            assert re.search(rf"^{re.escape(str(path))}: \S", result.stderr, re.MULTILINE)
        assert "3 of 4" in error_line(result)

    def test_bad_files_in_json(self, model: Path, unseen: Path, tmp_path: Path) -> None:
        good = unseen / "Cat" / "001.png"
        result = invoke("predict", model, tmp_path / "absent.jpg", good, "--json")
        failed, answered = read_json(result)
        assert failed.keys() == {"path", "error"}
        assert failed["path"] == str(tmp_path / "absent.jpg")
        assert answered["path"] == str(good)
        error_line(result)

    def test_folder_stands_for_the_images_below_it(
        self, model: Path, unseen: Path, tmp_path: Path
    ) -> None:
        image = (unseen / "Cat" / "001.png").read_bytes()
        for name in ("b/deep/z.PNG", "b/a.png", "a.jpg", ".hidden.png", ".git/x.png", "notes.txt"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(image)
        lines = succeed("predict", model, tmp_path).stdout.splitlines()
        names = [Path(line.split(": ")[0]).relative_to(tmp_path).as_posix() for line in lines]
        assert names == ["a.jpg", "b/a.png", "b/deep/z.PNG"]

    def test_links_to_folders_are_followed_as_training_does(
        self, model: Path, unseen: Path, tmp_path: Path
    ) -> None:
        image = (unseen / "Cat" / "001.png").read_bytes()
        elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
        for path in (elsewhere / "deep", folder):
            path.mkdir(parents=True)
            (path / "a.png").write_bytes(image)
        try:
            (folder / "linked").symlink_to(elsewhere)
        except OSError:
            pytest.skip("this system makes no links")
        (folder / "round").symlink_to(folder)
        (folder / ".hidden").symlink_to(elsewhere)
        lines = succeed("predict", model, folder).stdout.splitlines()
        names = [Path(line.split(": ")[0]).relative_to(folder).as_posix() for line in lines]
        assert names == ["a.png", "linked/deep/a.png", "round/a.png"]

    def test_empty_folder_is_a_failure(self, model: Path, tmp_path: Path) -> None:
        result = invoke("predict", model, tmp_path)
        assert f"{tmp_path}: a folder with no image files" in result.stderr
        error_line(result)

    def test_more_files_than_a_batch(self, model: Path, unseen: Path) -> None:
        files = sorted(unseen.rglob("*.png")) * 12
        result = succeed("predict", model, *files)
        found = [line.split(": ")[0] for line in result.stdout.splitlines()]
        assert found == [str(path) for path in files]
        assert len(set(result.stdout.splitlines())) == 12  # same file, same line, in any batch

    def test_file_name_that_is_no_unicode(self, model: Path, unseen: Path, tmp_path: Path) -> None:
        path = tmp_path / "\udcff.png"
        try:
            path.write_bytes((unseen / "Cat" / "001.png").read_bytes())
        except OSError:
            pytest.skip("this file system takes only Unicode names")
        for encoding in ("utf-8", "cp1252"):
            environment = os.environ | {"PYTHONIOENCODING": encoding}
            result = python("predict", model, tmp_path, env=environment)
            assert (result.returncode, result.stderr) == (0, "")
            assert result.stdout.startswith(f"{tmp_path}/\\udcff.png: ")
        (item,) = read_json(succeed("predict", model, tmp_path, "--json"))
        assert item["path"] == str(path)

    def test_reader_that_leaves_early(self, model: Path, unseen: Path) -> None:
        # More lines than a pipe buffers, so that the command must notice.
        files = [str(path) for path in unseen.rglob("*.png")] * 150
        process = subprocess.Popen(
            [sys.executable, "-m", "ferrocnn", "predict", model, *files],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(files[0])
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(timeout=60) == 1
