"""Small models for all tests of the command line, and folders to try them on."""

from pathlib import Path

import pytest
from cli_cases import ZOO, succeed, write_images
from click.testing import Result

import ferrocnn


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 good images of two classes, one empty file and one that is no image."""
    folder = write_images(tmp_path_factory.mktemp("data") / "pets", 20, seed=1)
    (folder / "Cat" / "666.jpg").touch()
    (folder / "Dog" / "Thumbs.db").write_bytes(b"no image")
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the test runs in, as `train` writes there."""
    folder = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def trained(pets: Path) -> tuple[Path, Result]:
    """A model file and what `train` said when it made it; the run is `first` beside the file."""
    out = pets.parent / "pets.npz"
    options = ("--epochs", "6", "--batch-size", "8", "--image-size", "16", "--seed", "3")
    options += ("--val-fraction", "0.2")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pets.parent)
        words = ("--recipe", "classic", "--name", "first", *options)
        return out, succeed("train", pets, "--out", out, *words)


@pytest.fixture(scope="session")
def model(trained: tuple[Path, Result]) -> Path:
    return trained[0]


@pytest.fixture(scope="session")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that the model was not trained on, one of them under the wrong name."""
    folder = write_images(tmp_path_factory.mktemp("data") / "unseen", 6, seed=2)
    (folder / "Cat" / "000.png").rename(folder / "Dog" / "stray.png")
    return folder


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 images of each of four classes, one of them under the wrong name."""
    folder = write_images(tmp_path_factory.mktemp("data") / "zoo", 6, seed=4, classes=ZOO)
    (folder / "Ant" / "000.png").rename(folder / "Cow" / "stray.png")
    return folder


@pytest.fixture(scope="session")
def zoo_model(zoo: Path) -> Path:
    """A model of four classes that does all that `info` tells of."""
    data = ferrocnn.load_images(zoo, (16, 16), cache=False)
    conv_filters = [ferrocnn.Conv(8, size=5, pool="avg", stride=2), (8, 3)]
    model = ferrocnn.CNN((16, 16, 3), conv_filters, [4], batch_norm=True, dropout=0.1, seed=0)
    model.flip_average = True
    ferrocnn.train(
        model,
        data,
        epochs=6,
        batch_size=8,
        optimizer=ferrocnn.AdamW(0.02),
        schedule="one-cycle",
        augment=ferrocnn.Augment(flip=True, shift=1),
        label_smoothing=0.1,
        average=0.9,
        seed=0,
        progress=False,
    )
    model.save(zoo.parent / "zoo.npz")
    return zoo.parent / "zoo.npz"
