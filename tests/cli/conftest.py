"""One small model for all tests of the command line, and folders to try it on."""

from pathlib import Path

import pytest
from cli_cases import succeed, write_images
from click.testing import Result


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
