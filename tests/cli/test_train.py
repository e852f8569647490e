"""`ferrocnn train`: what it says, what it writes, how it ends."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_cases import error_line, invoke, succeed, write_images
from click.testing import Result
from PIL import Image

import ferrocnn
from ferrocnn import Run
from ferrocnn.recipes import RECIPES


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
        options = ("--epochs", "2", "--image-size", "16")
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
            words = ("--epochs", "1", "--image-size", "16", "--seed", "1", *options)
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
        options = ("--out", tmp_path / "m.npz", "--epochs", "1", "--image-size", "16")
        runs = [succeed("train", pets, *options).stdout for _ in range(2)]
        seeds = {re.findall(r"--seed (\d+)", output)[0] for output in runs}
        assert len(seeds) == 2

    def test_says_that_an_older_model_was_replaced(self, pets: Path) -> None:
        words = ("train", pets, "--epochs", "1", "--image-size", "16")
        assert "replaced" not in succeed(*words).stdout
        assert re.search(
            r"^model.npz: epoch 1 of 1, .*; an older model there was replaced$",
            succeed(*words).stdout,
            re.MULTILINE,
        )

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
            "16",
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

    def test_picture_is_checked_before_anything_is_loaded(self, tmp_path: Path) -> None:
        for path in (tmp_path / "no" / "seen.png", tmp_path):
            line = error_line(invoke("train", tmp_path / "absent", "--augmented-picture", path))
            assert line.startswith("ferrocnn: error: --augmented-picture: expected a file in")
            assert str(path) in line
        assert list(tmp_path.iterdir()) == []

    def test_folder_is_missing(self, tmp_path: Path) -> None:
        result = invoke("train", tmp_path / "absent", "--out", tmp_path / "m.npz")
        assert "absent" in error_line(result)
        assert result.stdout == ""  # no seed of a run that there is not

    def test_wants_two_classes(self, tmp_path: Path) -> None:
        folder = write_images(tmp_path / "pets", 3, seed=6, classes=("Cat",))
        line = error_line(invoke("train", folder, "--out", tmp_path / "m.npz"))
        assert line.startswith("ferrocnn: error: FOLDER: expected at least two")
        assert str(folder) in line
        assert "add a folder for each other class" in line
        assert not (tmp_path / "m.npz").exists()

    def test_three_classes(self, tmp_path: Path) -> None:
        folder = write_images(tmp_path / "pets", 6, seed=6, classes=("Bird", "Cat", "Dog"))
        out = tmp_path / "m.npz"
        words = ("--out", out, "--image-size", "16", "--epochs", "2", "--class-weight", "balanced")
        result = succeed("train", folder, *words)
        assert "of 3 classes (Bird 6, Cat 6, Dog 6)" in result.stdout
        model = ferrocnn.load(out)
        assert model.class_names == ("Bird", "Cat", "Dog")
        assert model.fc_layers[-1] == 3
        assert succeed("predict", out, folder / "Bird" / "000.png").stdout

    @pytest.mark.parametrize("recipe", RECIPES)
    def test_recipes_train_what_they_say(self, recipe: str, pets: Path, tmp_path: Path) -> None:
        out, known = tmp_path / "m.npz", RECIPES[recipe]
        succeed("train", pets, "--recipe", recipe, "--out", out, "--epochs", "1")
        model = ferrocnn.load(out)
        expected = known.model(2, seed=model.seed).config()
        assert model.config() == expected
        assert model.flip_average == known.flip_average
        said = model.training
        assert said["optimizer"].items() >= dict(known.optimizer).items()
        assert said["schedule"] == known.schedule.config()
        assert said["batch_size"] == known.batch_size
        assert said["augment"] == (known.augment and known.augment.to_dict())
        assert said["label_smoothing"] == known.label_smoothing
        assert said["average"] == known.average

    def test_fast_starts_from_filters_that_whiten_its_images(
        self, pets: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "m.npz"
        words = ("--recipe", "fast", "--epochs", "1", "--learning-rate", "1e-9", "--seed", "5")
        succeed("train", pets, "--out", out, *words)
        training, _ = ferrocnn.load_images(pets).split(0.1, seed=5)
        start = RECIPES["fast"].model(2, seed=5)
        ferrocnn.whiten(start, training.images, seed=5)
        weights = (model.parameters()["conv1.weight"] for model in (ferrocnn.load(out), start))
        np.testing.assert_allclose(*weights, atol=1e-6)

    def test_options_override_the_recipe(self, pets: Path, tmp_path: Path) -> None:
        out = tmp_path / "m.npz"
        succeed(
            "train", pets, "--out", out, "--epochs", "2", "--batch-size", "8", "--image-size", "16",
            "--learning-rate", "0.02", "--optimizer", "nesterov", "--label-smoothing", "0.2",
            "--average", "0.5", "--no-augment", "--seed", "4", "--val-fraction", "0.4",
        )  # fmt: skip
        model = ferrocnn.load(out)
        said = model.training
        assert model.input_shape == (16, 16, 3)
        assert said["optimizer"]["name"] == "nesterov"
        assert said["optimizer"]["learning_rate"] == 0.02
        expected = {
            "batch_size": 8, "label_smoothing": 0.2, "average": 0.5, "augment": None, "seed": 4,
            "images": 24, "validation_images": 16,
        }  # fmt: skip
        assert said.items() >= expected.items()

    def test_the_rate_of_one_rule_is_not_taken_for_another(self, pets: Path) -> None:
        result = invoke("train", pets, "--optimizer", "sgd")
        assert result.exit_code == 2
        assert "--learning-rate" in result.stderr
        words = ("--image-size", "16", "--epochs", "1", "--no-augment", "--seed", "0")
        succeed("train", pets, "--optimizer", "adam", *words)
        rates = RECIPES["fast"].optimizer
        assert ferrocnn.load("model.npz").training["optimizer"].items() >= {
            "name": "adam", "learning_rate": rates["learning_rate"],
        }.items()  # fmt: skip

    def test_pixels_of_augmentation_follow_the_image_size(
        self, pets: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        augment = ferrocnn.Augment(shift=8, cutout=16, crop=0.5)
        recipe = replace(RECIPES["fast"], image_size=64, stored_size=96, augment=augment)
        monkeypatch.setitem(RECIPES, "fast", recipe)
        sizes = []
        load = ferrocnn.load_images

        def seen(folder: Path, image_size: tuple[int, int], **options: object) -> object:
            sizes.append(image_size)
            return load(folder, image_size, **options)

        monkeypatch.setattr("ferrocnn.images.load_images", seen)
        words = ("--image-size", "16", "--epochs", "1", "--augmented-picture", "seen.png")
        succeed("train", pets, *words)
        model = ferrocnn.load("model.npz")
        assert model.training["augment"] == ferrocnn.Augment(shift=2, cutout=4, crop=0.5).to_dict()
        assert sizes == [(24, 24)]
        assert model.preprocessing == ferrocnn.Preprocessing((16, 16), stored_size=(24, 24))
        with Image.open("seen.png") as picture:
            assert picture.width > picture.height > 4 * 16
        assert invoke("train", pets, "--no-augment", "--augmented-picture", "x").exit_code == 2

    def test_no_augment_needs_no_larger_images(
        self, pets: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(RECIPES, "fast", replace(RECIPES["fast"], stored_size=96))
        succeed("train", pets, "--image-size", "16", "--epochs", "1", "--no-augment")
        assert Run("runs/pets-fast-1").settings()["data"]["images_shape"] == [16, 16, 3]

    @pytest.mark.parametrize(("epochs", "sizes"), [(1, [1]), (2, [0.75, 1]), (3, [0.5, 0.75, 1])])
    def test_a_short_run_has_the_last_of_the_progressive_sizes(
        self, epochs: int, sizes: list[float], pets: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        recipe = replace(
            RECIPES["classic"],
            progressive=(0.5, 0.75, 1.0),
            options={"global_average_pool": True},
        )
        monkeypatch.setitem(RECIPES, "classic", recipe)
        words = ("--recipe", "classic", "--image-size", "16", "--epochs", str(epochs))
        succeed("train", pets, *words)
        assert ferrocnn.load("model.npz").training["progressive"] == sizes

    @pytest.mark.parametrize(
        ("words", "option"),
        [
            (("--image-size", "6"), "--image-size"),
            (("--val-fraction", "0.001"), "--val-fraction"),
            (("--name", "a/b"), "--name"),
            (("--learning-rate", "1e-60"), "--learning-rate"),
        ],
    )
    def test_errors_name_the_option_and_leave_no_run(
        self, words: tuple[str, ...], option: str, pets: Path
    ) -> None:
        assert error_line(invoke("train", pets, *words)).startswith(f"ferrocnn: error: {option}:")
        assert not any(Path("runs").glob("*"))
        assert not Path("model.npz").exists()

    def test_help_shows_recipes_and_groups(self) -> None:
        text = succeed("train", "--help").stdout
        for name, recipe in RECIPES.items():
            assert f"{name:<8} {recipe.summary}" in text
        headings = re.findall(r"^(\w.*):$", text, re.MULTILINE)
        assert headings[-4:] == ["Run", "Images", "Training (default: the recipe's)", "Help"]

    def test_divergence_says_what_is_kept(self, pets: Path, tmp_path: Path) -> None:
        out = tmp_path / "m.npz"
        options = ("--image-size", "16", "--seed", "0", "--optimizer", "sgd", "--no-augment")
        words = ("--recipe", "classic", "--learning-rate", "1e30")
        line = error_line(invoke("train", pets, "--out", out, *options, *words))
        assert line.startswith("ferrocnn: error: --learning-rate: ")
        assert "lower" in line
        assert "no epoch has ended" in line
        assert not out.exists()

    def test_patience_ends_the_run(self, pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        words = ("--image-size", "16", "--learning-rate", "1e-12", "--seed", "1", "--no-augment")
        result = succeed("train", pets, "--recipe", "classic", "--patience", "2", *words)
        assert "stopped after epoch 3: none of the last 2 was better\n" in result.stdout
        run = Run("runs/pets-classic-1")
        assert run.history().epochs == 3
        assert run.finished
        assert "finished" in succeed("train", "--resume", run.folder).stdout
        result = succeed("train", pets, "--recipe", "classic", "--patience", "1", *words)
        assert "stopped after epoch 2: the last was no better\n" in result.stdout
