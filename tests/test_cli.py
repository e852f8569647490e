"""The command line: what each command prints, writes and exits with."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import ferrocnn
from ferrocnn.cli import main
from ferrocnn.cli.common import command_line, echo_json

CLASSES = ("Cat", "Dog")


def write_images(folder: Path, count: int, seed: int, classes: tuple[str, ...] = CLASSES) -> Path:
    """`count` images a class: noise that the first class has above and the others below."""
    rng = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 120, (20, 20, 3), dtype=np.uint8)
            half = slice(0, 10) if label == 0 else slice(10, 20)
            pixels[half] += rng.integers(60, 130, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:03d}.png")
    return folder


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def succeed(*words: str | Path) -> Result:
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    return result


def error_line(result: Result) -> str:
    """The one line of a failure: exit code 1 and no traceback."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    lines = [line for line in result.stderr.splitlines() if line.startswith("ferrocnn: error: ")]
    assert len(lines) == 1
    assert result.stderr.endswith(lines[0] + "\n")
    return lines[0]


def read_json(result: Result) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(result.stdout, parse_constant=refuse)


def python(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ferrocnn", *words],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 good images of two classes, one empty file and one that is no image."""
    folder = write_images(tmp_path_factory.mktemp("data") / "pets", 20, seed=1)
    (folder / "Cat" / "666.jpg").touch()
    (folder / "Dog" / "Thumbs.db").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def trained(pets: Path) -> tuple[Path, Result]:
    """A model file and what `train` said when it made it."""
    out = pets.parent / "pets.npz"
    options = ("--epochs", "6", "--batch-size", "8", "--image-size", "16", "--seed", "3")
    return out, succeed("train", pets, "--out", out, *options)


@pytest.fixture(scope="module")
def model(trained: tuple[Path, Result]) -> Path:
    return trained[0]


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that the model was not trained on, one of them under the wrong name."""
    folder = write_images(tmp_path_factory.mktemp("data") / "unseen", 6, seed=2)
    (folder / "Cat" / "000.png").rename(folder / "Dog" / "stray.png")
    return folder


class TestProgram:
    def test_version(self) -> None:
        assert succeed("--version").stdout == f"ferrocnn {ferrocnn.__version__}\n"

    def test_module_is_the_same_program(self, tmp_path: Path) -> None:
        result = python("--version", cwd=tmp_path)
        assert result.stdout == f"ferrocnn {ferrocnn.__version__}\n"

    @pytest.mark.parametrize("command", ["train", "evaluate", "predict", "info", "demo"])
    def test_help_has_an_example(self, command: str) -> None:
        assert command in succeed("--help").stdout
        assert f"  ferrocnn {command}" in succeed(command, "--help").stdout

    @pytest.mark.parametrize(
        "words",
        [
            ["fly"],
            ["train"],
            ["train", "x", "--epochs", "0"],
            ["train", "x", "--batch-size", "0"],
            ["train", "x", "--image-size", "-1"],
            ["train", "x", "--learning-rate", "0"],
            ["train", "x", "--learning-rate", "nan"],
            ["train", "x", "--learning-rate", "inf"],
            ["train", "x", "--val-fraction", "1"],
            ["train", "x", "--optimizer", "magic"],
            ["train", "x", "--seed", "-1"],
            ["evaluate", "x"],
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


class TestTrain:
    def test_says_what_it_found(self, trained: tuple[Path, Result], pets: Path) -> None:
        output = trained[1].stdout
        assert f"{pets}: 40 images of 2 classes (Cat 20, Dog 20), 2 skipped" in output
        assert re.search(rf"{re.escape(str(pets / 'Cat' / '666.jpg'))}: \S+", output)
        assert re.search(rf"{re.escape(str(pets / 'Dog' / 'Thumbs.db'))}: \S+", output)
        assert "32 images to train on, 8 to validate on" in output

    def test_describes_the_model(self, trained: tuple[Path, Result]) -> None:
        model = ferrocnn.load(trained[0])
        assert model.input_shape == (16, 16, 3)
        count = sum(values.size for values in model.parameters().values())
        assert f"{count:,} parameters" in trained[1].stdout

    def test_file_is_the_epoch_that_it_reports(
        self, trained: tuple[Path, Result], pets: Path
    ) -> None:
        out, result = trained
        found = re.search(
            rf"{re.escape(str(out))}: epoch \d of 6, .* (0\.\d+|1\.0+), loss (\S+)", result.stdout
        )
        assert found
        _, validation = ferrocnn.load_images(pets, (16, 16)).split(0.2, 3)
        truth = validation.labels == 1
        p = ferrocnn.load(out).predict_proba(validation.images)[:, 0].astype(np.float64)
        loss = -np.log(np.where(truth, p, 1 - p)).mean()
        assert float(found[1]) == pytest.approx(((p >= 0.5) == truth).mean(), abs=1e-4)
        assert float(found[2]) == pytest.approx(loss, abs=1e-4)

    def test_commands_that_it_prints_work(self, trained: tuple[Path, Result]) -> None:
        output = trained[1].stdout
        commands = output.partition("What to type next:\n")[2].splitlines()
        assert len(commands) == 3
        predict, evaluate, info = (shlex.split(line)[1:] for line in commands)
        assert evaluate == ["evaluate", str(trained[0]), "OTHER_FOLDER"]
        succeed(*predict)
        succeed(*info)

    def test_seed_repeats_the_run(self, pets: Path, tmp_path: Path) -> None:
        options = ("--epochs", "2", "--image-size", "12")
        first = succeed("train", pets, "--out", tmp_path / "a.npz", *options)
        drawn = re.search(r"--seed (\d+)", first.stdout)
        assert drawn
        for name, seed in (("b.npz", drawn[1]), ("c.npz", str(int(drawn[1]) + 1))):
            succeed("train", pets, "--out", tmp_path / name, "--seed", seed, *options)
        a, b, c = (ferrocnn.load(tmp_path / f"{name}.npz").parameters() for name in "abc")
        assert all(np.array_equal(a[key], b[key]) for key in a)
        assert not np.array_equal(a["conv1.weight"], c["conv1.weight"])

    def test_drawn_seeds_differ(self, pets: Path, tmp_path: Path) -> None:
        options = ("--out", tmp_path / "m.npz", "--epochs", "1", "--image-size", "12")
        runs = [succeed("train", pets, *options).stdout for _ in range(2)]
        seeds = {re.findall(r"--seed (\d+)", output)[0] for output in runs}
        assert len(seeds) == 2

    def test_uses_the_folders_own_split(self, tmp_path: Path) -> None:
        write_images(tmp_path / "both" / "train", 8, seed=4)
        write_images(tmp_path / "both" / "val", 3, seed=5)
        result = succeed(
            "train",
            tmp_path / "both",
            "--out",
            tmp_path / "m.npz",
            "--epochs",
            "1",
            "--image-size",
            "12",
        )
        assert "16 images to train on, 6 to validate on" in result.stdout
        assert shlex.join(["evaluate", str(tmp_path / "m.npz"), str(tmp_path / "both")]) in (
            result.stdout
        )

    def test_out_is_checked_before_anything_is_loaded(self, tmp_path: Path) -> None:
        no_folder = invoke("train", tmp_path / "absent", "--out", tmp_path / "no" / "m.npz")
        assert "--out" in error_line(no_folder)
        assert str(tmp_path / "no") in error_line(no_folder)
        is_folder = invoke("train", tmp_path / "absent", "--out", tmp_path)
        assert "--out" in error_line(is_folder)
        assert list(tmp_path.iterdir()) == []

    def test_folder_is_missing(self, tmp_path: Path) -> None:
        line = error_line(invoke("train", tmp_path / "absent", "--out", tmp_path / "m.npz"))
        assert "absent" in line

    @pytest.mark.parametrize("classes", [("Cat",), ("Bird", "Cat", "Dog")])
    def test_wants_two_classes(self, tmp_path: Path, classes: tuple[str, ...]) -> None:
        folder = write_images(tmp_path / "pets", 3, seed=6, classes=classes)
        line = error_line(invoke("train", folder, "--out", tmp_path / "m.npz"))
        assert "two" in line
        assert str(folder) in line
        assert not (tmp_path / "m.npz").exists()

    def test_divergence_says_what_is_kept(self, pets: Path, tmp_path: Path) -> None:
        out = tmp_path / "m.npz"
        options = ("--image-size", "12", "--seed", "0", "--optimizer", "sgd")
        line = error_line(invoke("train", pets, "--out", out, *options, "--learning-rate", "1e30"))
        assert "lower" in line
        assert f"nothing was written to {out}" in line
        assert not out.exists()

    def test_interrupt_before_an_epoch_has_ended(
        self, pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("ferrocnn.training.train", interrupted)
        out = tmp_path / "m.npz"
        result = invoke("train", pets, "--out", out, "--image-size", "12")
        assert result.exit_code == 130
        assert f"nothing was written to {out}" in result.stderr
        assert not out.exists()

    def test_interrupt_keeps_the_best_epoch(self, pets: Path, tmp_path: Path) -> None:
        # The handler is set by hand: a test run in the background may inherit "ignore".
        code = (
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
            "from ferrocnn.cli import main; main(prog_name='ferrocnn')"
        )
        out = tmp_path / "m.npz"
        words = ["train", pets, "--out", out, "--image-size", "12", "--epochs", "1000000"]
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
                if re.search(r"\b3/1000000\b|\bepoch 3\b", line):
                    process.send_signal(signal.SIGINT)
                    break
            output = "".join(lines) + process.communicate(timeout=60)[0]
        finally:
            process.kill()
        assert process.returncode == 130, output
        assert "Traceback" not in output
        last = output.splitlines()[-1]
        assert last.startswith("ferrocnn: interrupted")
        assert f"kept: {out}" in last
        assert ferrocnn.load(out).class_names == CLASSES
        assert sorted(path.name for path in tmp_path.iterdir()) == ["m.npz"]


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
        assert [item.keys() for item in items] == [{"path", "class", "probability"}] * 2
        for item, path, truth in zip(items, files, truths, strict=True):
            assert (item["path"], item["class"]) == (str(path), truth.name)
            assert item["probability"] == pytest.approx(truth.probability, abs=1e-6)
            assert item["probability"] >= 0.5

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


class TestModelFile:
    @pytest.mark.parametrize("words", [["info"], ["predict", "x.png"], ["evaluate", "x"]])
    def test_that_cannot_be_used(self, words: list[str], tmp_path: Path) -> None:
        path = tmp_path / "broken.npz"
        assert str(path) in error_line(invoke(words[0], path, *words[1:]))
        path.write_bytes(b"PK\x03\x04 and then nonsense")
        assert str(path) in error_line(invoke(words[0], path, *words[1:]))

    @pytest.mark.parametrize("words", [["predict", "x.png"], ["evaluate", "x"]])
    def test_that_was_trained_on_bare_arrays(self, words: list[str], tmp_path: Path) -> None:
        path = tmp_path / "bare.npz"
        ferrocnn.CNN(input_shape=(8, 8, 3), seed=0).save(path)
        assert "bare arrays" in error_line(invoke(words[0], path, *words[1:]))
        assert "8 x 8 x 3" in succeed("info", path).stdout


class TestInfo:
    def test_text(self, model: Path) -> None:
        output = succeed("info", model).stdout
        assert ferrocnn.load(model).summary() in output
        for part in ("Cat, Dog", "16 x 16", "bilinear", f"{model.stat().st_size:,} bytes", "adam"):
            assert part in output

    def test_json(self, model: Path) -> None:
        found = read_json(succeed("info", model, "--json"))
        known = ferrocnn.load(model)
        assert known.preprocessing is not None
        assert found["class_names"] == ["Cat", "Dog"]
        assert found["architecture"] == json.loads(json.dumps(known.config()))
        assert found["parameters"] == sum(v.size for v in known.parameters().values())
        assert found["preprocessing"] == json.loads(json.dumps(known.preprocessing.to_dict()))
        assert found["file_size"] == model.stat().st_size
        # 16x16x16 and 8x8x32 outputs of 3x3 windows over 3 and 16 channels, then dense layers.
        dense = 4 * 4 * 32 * 128 + 128 * 64 + 64
        assert found["multiply_adds"] == 16 * 16 * 16 * 27 + 8 * 8 * 32 * 144 + dense


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
