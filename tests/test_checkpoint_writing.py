"""Model files are written whole or not at all, and only where a file belongs."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ferrocnn
from ferrocnn import CNN
from test_checkpoint import bits, small_model


@pytest.fixture
def model() -> CNN:
    return small_model()


@pytest.fixture
def path(model: CNN, tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    model.save(path)
    return path


@pytest.mark.parametrize("fault", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, fault, fail)
    with pytest.raises(OSError, match="disk full"):
        small_model(seed=5).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_the_name_is_taken_as_it_is_and_permissions_are_the_usual_ones(
    model: CNN, tmp_path: Path
) -> None:
    path = tmp_path / "weights"
    model.save(path)
    (tmp_path / "plain").write_bytes(b"")
    assert [entry.name for entry in sorted(tmp_path.iterdir())] == ["plain", "weights"]
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
    path.chmod(0o640)
    model.save(path)
    assert path.stat().st_mode & 0o777 == 0o640


def with_nan(model: CNN) -> None:
    model.parameters()["conv1.bias"][0] = np.nan


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_nan, r"conv1\.bias: expected finite"),
        (lambda m: setattr(m, "class_names", ("a", "b", "c")), "class_names"),
        (lambda m: m.training.update(loss=np.float32(1)), "training"),
        (lambda m: m.training.update(loss=float("inf")), "training"),
        (lambda m: m.training.update(text="x" * (1 << 20)), "training"),
    ],
)
def test_a_model_that_no_file_may_hold_leaves_the_old_file(
    model: CNN, path: Path, spoil: Callable[[CNN], object], message: str
) -> None:
    before = path.read_bytes()
    spoil(model)
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        model.save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        small_model(seed=5).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="makes links and pipes")
def test_links_stay_links_and_pipes_are_refused(model: CNN, tmp_path: Path) -> None:
    link, pipe = tmp_path / "link.npz", tmp_path / "pipe"
    link.symlink_to(tmp_path / "target.npz")
    model.save(link)
    assert link.is_symlink()
    assert bits(ferrocnn.load(tmp_path / "target.npz")) == bits(model)
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match=r"path: expected a file, got .*pipe"):
        model.save(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "missing" / "model.npz")
