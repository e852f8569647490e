"""The folder of a run: what it holds, and what it refuses. Resuming is in test_resume.py."""

import csv
import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import ferrocnn
from ferrocnn import Run, schedules
from ferrocnn.images import ImageDataset
from ferrocnn.preprocessing import Preprocessing
from run_cases import EPOCHS, data, fit, make_model, weights

FILES = {"settings.json", "results.csv", "best.npz", "last.npz", "state.npz"}


def dataset(folder: Path, count: int = 40, seed: int = 0) -> ImageDataset:
    X, y = data(count, seed=seed)
    paths = [folder / ("Cat", "Dog")[label] / f"{seed}-{i}.jpg" for i, label in enumerate(y)]
    return ImageDataset(X, y.astype(np.int64), ("Cat", "Dog"), paths, [], Preprocessing((8, 8)))


def test_a_run_of_arrays(tmp_path: Path) -> None:
    model, history = fit("sgd", tmp_path / "deep" / "run")
    run = Run(str(tmp_path / "deep" / "run"))
    assert {path.name for path in run.folder.iterdir()} == FILES
    assert run.exists
    assert run.finished
    assert run.history() == history
    settings = run.settings()
    assert settings["train"]["epochs"] == EPOCHS
    assert settings["train"]["optimizer"]["learning_rate"] == 0.02
    assert {**settings["model"], "flip_average": None} == {
        **json.loads(json.dumps(model.config())), "flip_average": None,
    }  # fmt: skip
    assert settings["data"]["images"] == 40
    assert settings["command"] == {}
    assert weights(ferrocnn.load(run.last)) == weights(model)
    best = ferrocnn.load(run.best)
    assert best.training["epochs"] == history.best_epoch
    assert ferrocnn.evaluate(best, *data(20, seed=1)).loss == min(
        loss
        for loss, accuracy in zip(history.val_loss, history.val_accuracy, strict=True)
        if accuracy == max(history.val_accuracy)
    )
    with open(run.results, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == history.loss


def test_files_are_there_before_the_callbacks_are_called(tmp_path: Path) -> None:
    run, seen = Run(tmp_path / "run"), []

    def look(model: ferrocnn.CNN, history: ferrocnn.History) -> None:
        seen.append(ferrocnn.load(run.last).training["epochs"])
        assert len(run.results.read_text().splitlines()) == 1 + history.epochs

    fit("sgd", run.folder, callbacks=[look])
    assert len(seen) == EPOCHS


def test_files_of_a_data_set_are_listed_and_compared(tmp_path: Path) -> None:
    parts = dataset(tmp_path / "pets"), dataset(tmp_path / "pets", 20, seed=1)

    def go(training: ImageDataset, validation: ImageDataset) -> None:
        ferrocnn.train(
            make_model("sgd"), training, epochs=1, validation_data=validation, seed=0,
            progress=False, run=tmp_path / "run", resume=True,
        )  # fmt: skip

    go(*parts)
    with open(tmp_path / "run" / "images.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "label", "part", "crc32"]
    assert rows[1][:3] == ["Cat/0-0.jpg", "0", "training"]
    assert rows[-1][:3] == ["Dog/1-19.jpg", "1", "validation"]
    assert int(rows[-1][3], 16) == zlib.crc32(parts[1].images[19].tobytes())
    assert len(rows) == 61

    go(dataset(tmp_path / "moved"), dataset(tmp_path / "moved", 20, seed=1))
    fewer = dataset(tmp_path / "pets")
    del fewer.paths[38]
    fewer.images, fewer.labels = np.delete(fewer.images, 38, 0), np.delete(fewer.labels, 38)
    with pytest.raises(ValueError, match=r"^resume: .*expected the 60 images.*1 gone: Cat/0-38"):
        go(fewer, parts[1])
    with pytest.raises(ValueError, match=r"^resume: .*60 of another class or part"):
        go(parts[1], parts[0])
    relabelled = dataset(tmp_path / "pets")
    relabelled.labels[3] = 0
    with pytest.raises(ValueError, match=r"^resume: .*1 of another class or part: Dog/0-3.jpg"):
        go(relabelled, parts[1])
    swapped = dataset(tmp_path / "pets")
    swapped.images[[0, 2]], swapped.paths[0], swapped.paths[2] = (
        swapped.images[[2, 0]], swapped.paths[2], swapped.paths[0],
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"^resume: .*another order"):
        go(swapped, parts[1])
    edited = dataset(tmp_path / "pets")
    edited.images[[0, 7], 0, 0, 0] += 1
    with pytest.raises(
        ValueError, match=r"^resume: .*\(2 with other content: Cat/0-0.jpg, Dog/0-7.jpg\)"
    ):
        go(edited, parts[1])

    # Runs of earlier versions list no pixels.
    (tmp_path / "run" / "images.csv").write_text(
        "".join(",".join(row[:3]) + "\n" for row in rows), newline=""
    )
    go(*parts)
    with pytest.raises(ValueError, match=r"^resume: .*same number and size"):
        go(edited, parts[1])


def test_parts_that_were_drawn_over_fewer_files_are_not_compared(tmp_path: Path) -> None:
    whole = dataset(tmp_path / "pets")

    def go(data: ImageDataset) -> None:
        training, validation = data.split(0.3, seed=len(data))
        ferrocnn.train(
            make_model("sgd"), training, epochs=1, validation_data=validation, seed=0,
            progress=False, run=tmp_path / "run", resume=True,
        )  # fmt: skip

    go(whole)
    fewer = dataset(tmp_path / "pets")
    del fewer.paths[38]
    fewer.images, fewer.labels = np.delete(fewer.images, 38, 0), np.delete(fewer.labels, 38)
    with pytest.raises(ValueError, match=r"got 39 \(1 gone: Cat/0-38.jpg\);"):
        go(fewer)


def test_never_overwrites(tmp_path: Path) -> None:
    fit("sgd", tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    model = make_model("sgd")
    own = weights(model)
    with pytest.raises(ValueError, match=r"^run: .*holds a run.*resume=True"):
        fit("sgd", tmp_path / "run", model, resume=False)
    assert weights(model) == own
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    (tmp_path / "file").touch()
    for name in ("other", "file"):
        for resume in (False, True):
            with pytest.raises(ValueError, match=r"^run: expected a new or empty folder"):
                fit("sgd", tmp_path / name, resume=resume)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"run": 3}, "run"), ({"resume": True}, "resume"), ({"run": "x", "resume": 1}, "resume")],
)
def test_bad_arguments_are_named_and_make_nothing(
    arguments: dict, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, TypeError), match=f"^{name}: expected"):
        ferrocnn.train(make_model("sgd"), *data(), progress=False, **arguments)
    with pytest.raises(ValueError, match=r"^epochs"):
        ferrocnn.train(make_model("sgd"), *data(), progress=False, epochs=0, run="x")
    assert list(tmp_path.iterdir()) == []


def test_numbers_are_free_ones(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a-2").mkdir(parents=True)
    names = [Run.numbered(tmp_path / "runs", "a", {}).folder.name for _ in range(3)]
    assert names == ["a-1", "a-3", "a-4"]


def test_what_is_no_run(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert not run.exists
    for read in (run.settings, run.history, lambda: run.finished):
        with pytest.raises(FileNotFoundError, match=r"^run: expected the folder of a run"):
            read()
    for text in ("{", "[]", "{}", '{"format": "other"}', '{"format": "ferrocnn-run"}'):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(ValueError, match=r"settings\.json: expected settings"):
            run.settings()


@pytest.mark.parametrize("section", ["version", "model", "train", "data", "command"])
def test_damaged_settings_are_called_so(section: str, tmp_path: Path) -> None:
    fit("sgd", tmp_path / "run")
    path = tmp_path / "run" / "settings.json"
    whole = json.loads(path.read_text())
    damaged = [{key: value for key, value in whole.items() if key != section}]
    if section != "version":
        damaged.append(whole | {section: 3})
        damaged.append(whole | {section: []})
    for name in ("seed", "epochs", "flip_average", "optimizer", "schedule", "augment"):
        if name in whole.get(section, {}):
            rest = {key: value for key, value in whole[section].items() if key != name}
            damaged.append(whole | {section: rest})
    model = make_model("sgd", seed=7)
    before = weights(model)
    for settings in damaged:
        path.write_text(json.dumps(settings))
        for read in (
            lambda: Run(path.parent).finished,
            lambda: fit("sgd", path.parent, model),
            lambda: fit("sgd", path.parent, model, seed=None),
        ):
            with pytest.raises(ValueError, match=rf"settings\.json: expected .*damaged.*{section}"):
                read()
    assert weights(model) == before


@dataclass(frozen=True)
class Own(schedules.Schedule):
    gamma: object = 0.5

    def at(self, step: int, steps: int) -> float:
        return 1.0


def test_settings_that_are_no_json_are_named_before_anything_is_written(tmp_path: Path) -> None:
    model, run = make_model("sgd"), tmp_path / "run"
    before = weights(model)
    for gamma in (np.float32(0.5), np.ones(2), math.nan):
        with pytest.raises((ValueError, TypeError), match=r"^schedule: expected .*JSON"):
            fit("sgd", run, model, schedule=Own(gamma))
    with pytest.raises(TypeError, match=r"^command: expected .*JSON"):
        fit("sgd", Run(run, {"folder": tmp_path}), model)  # type: ignore[arg-type]
    assert weights(model) == before
    assert list(tmp_path.iterdir()) == []
    fit("sgd", run, schedule=Own(0.25))
    with pytest.raises(TypeError, match=r"^schedule: expected .*JSON"):
        fit("sgd", run, schedule=Own(np.float32(0.25)))


def test_what_a_run_left_that_never_began_is_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("state.npz", "images.csv", ".ferrocnn-0123456789abcdef.tmp"):
        (run / name).write_text("half")
    Run(run).check_free()
    fit("sgd", run, resume=False)
    assert Run(run).finished
    assert not (run / "images.csv").exists()  # not of this run, whose images are arrays
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "best.npz").touch()
    with pytest.raises(ValueError, match=r"^run: expected a new or empty folder"):
        fit("sgd", tmp_path / "other")


def test_a_rate_that_was_set_by_hand_is_that_of_the_run(tmp_path: Path) -> None:
    def optimizer(rate: object) -> ferrocnn.Optimizer:
        made = ferrocnn.Momentum(0.1)
        made.learning_rate = rate  # type: ignore[assignment]
        return made

    def stop(model: ferrocnn.CNN, history: ferrocnn.History) -> None:
        if history.epochs == 1:
            raise KeyboardInterrupt

    run = tmp_path / "run"
    for schedule in ("constant", "cosine"):
        options = {"schedule": schedule}
        whole, _ = fit("sgd", tmp_path / schedule, optimizer=optimizer(0.01), **options)
        assert whole.training["optimizer"]["learning_rate"] == 0.01
        run = tmp_path / f"{schedule} parts"
        with pytest.raises(KeyboardInterrupt):
            fit("sgd", run, optimizer=optimizer(np.float64(0.01)), callbacks=[stop], **options)
        with pytest.raises(ValueError, match=r"resume: .*optimizer .*0\.1.*the run has .*0\.01"):
            fit("sgd", run, optimizer=ferrocnn.Momentum(0.1), **options)
        parts, _ = fit("sgd", run, optimizer=optimizer(0.01), **options)
        assert weights(parts) == weights(whole)
    for rate in (-0.1, math.nan, "fast"):
        with pytest.raises((ValueError, TypeError), match=r"^optimizer\.learning_rate: expected"):
            fit("sgd", tmp_path / "none", optimizer=optimizer(rate))
    fit("sgd", tmp_path / "float32", optimizer=optimizer(np.float32(0.25)))
    settings = Run(tmp_path / "float32").settings()
    assert settings["train"]["optimizer"]["learning_rate"] == 0.25


def test_changes_that_the_images_cannot_have_begin_no_run(tmp_path: Path) -> None:
    model = ferrocnn.CNN((8, 8, 1), [(2, 3)], [1], seed=0)
    before = weights(model)
    X, y = data()
    grey = np.ascontiguousarray(X[..., :1])
    parts = ImageDataset(
        grey, y.astype(np.int64), ("Cat", "Dog"), [Path(f"{i}.jpg") for i in y], [],
        Preprocessing((8, 8)),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"^saturation: expected"):
        ferrocnn.train(
            model, parts, epochs=1, augment=ferrocnn.Augment(saturation=0.5), progress=False,
            run=tmp_path / "run",
        )  # fmt: skip
    assert weights(model) == before
    assert (model.class_names, model.preprocessing, model.training) == (None, None, {})
    assert list(tmp_path.iterdir()) == []


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    fit("sgd", tmp_path / "run")
    path = tmp_path / "run" / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))
    with pytest.raises(ValueError, match=r"settings\.json: expected .*ferrocnn-run 1.*2"):
        fit("sgd", tmp_path / "run")


def test_state_holds_no_pickle(tmp_path: Path) -> None:
    fit("adamw, average, batch norm, dropout", tmp_path / "run")
    with np.load(tmp_path / "run" / "state.npz", allow_pickle=False) as state:
        kinds = {name.partition("/")[0] for name in state.files}
        assert all(state[name].dtype != object for name in state.files)
    assert kinds == {"position", "model", "good", "optimizer", "average"}
