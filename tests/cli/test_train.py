"""`ferrocnn train`: what it says, what it writes, how it ends."""

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_cases import CLASSES, error_line, invoke, succeed, write_images
from click.testing import Result

import ferrocnn


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

    def test_second_run_takes_the_images_from_the_cache(
        self, pets: Path, tmp_path: Path, cache: Path
    ) -> None:
        found = f"{pets}: 40 images of 2 classes (Cat 20, Dog 20), 2 skipped"
        runs = {
            "without": (("--no-cache",), ""),
            "first": ((), ""),
            "second": ((), ", all from the cache"),
            "without-again": (("--no-cache",), ""),
        }
        for name, (options, said) in runs.items():
            words = ("--epochs", "1", "--image-size", "12", "--seed", "1", *options)
            result = succeed("train", pets, "--out", tmp_path / f"{name}.npz", *words)
            assert found + said in result.stdout.splitlines()
            assert cache.exists() == (name != "without")
        models = [ferrocnn.load(tmp_path / f"{name}.npz").parameters() for name in runs]
        for model in models[1:]:
            assert all(np.array_equal(model[key], models[0][key]) for key in model)

    def test_says_how_many_come_from_the_cache(self, tmp_path: Path, cache: Path) -> None:
        folder = write_images(tmp_path / "pets", 8, seed=11)
        words = ("train", folder, "--out", tmp_path / "m.npz", "--epochs", "1")
        succeed(*words)
        (folder / "Cat" / "000.png").unlink()
        (folder / "Dog" / "001.png").rename(folder / "Dog" / "new.png")
        assert "(Cat 7, Dog 8), 0 skipped, 14 from the cache" in succeed(*words).stdout

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
