"""`load_images` on all that real folders hold, with any number of threads, and interrupted."""

import _thread
import io
import os
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from ferrocnn import decoding
from ferrocnn.images import load_images
from ferrocnn.preprocessing import Preprocessing
from image_cases import dirty_folder, fill, names_of


def test_dirt_is_skipped_with_the_reason_and_left_where_it_is(tmp_path):
    readable, unreadable = dirty_folder(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load_images(tmp_path)
    assert caught == []
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    found = names_of(dataset.paths, tmp_path)
    assert sorted(found) == sorted(readable)
    assert dataset.class_names == ("Cat", "Dog")
    np.testing.assert_array_equal(dataset.labels, [name.startswith("Dog") for name in found])

    skipped = {path.relative_to(tmp_path).as_posix(): reason for path, reason in dataset.skipped}
    assert sorted(skipped) == sorted(unreadable)
    for name, reason in unreadable.items():
        assert reason in skipped[name]
        assert skipped[name]
        assert str(tmp_path) not in skipped[name]


def test_every_kind_of_file_gives_the_bytes_of_a_single_call(tmp_path):
    dirty_folder(tmp_path)
    dataset = load_images(tmp_path, (24, 32))
    assert dataset.images.flags.c_contiguous
    for image, path in zip(dataset.images, dataset.paths, strict=True):
        np.testing.assert_array_equal(image, dataset.preprocessing(path), err_msg=str(path))
    assert len({image.tobytes() for image in dataset.images}) > 8  # not all one picture


def test_from_the_cache_comes_the_same(tmp_path, decoded):
    readable, unreadable = dirty_folder(tmp_path)
    first = load_images(tmp_path)
    decoded.clear()
    second = load_images(tmp_path)
    assert not decoded
    assert (first.cached, second.cached) == (0, len(readable))
    np.testing.assert_array_equal(second.images, first.images)
    np.testing.assert_array_equal(second.labels, first.labels)
    assert second.paths == first.paths
    assert second.skipped == first.skipped
    assert len(second.skipped) == len(unreadable)


def test_the_number_of_threads_changes_nothing(tmp_path, monkeypatch):
    fill(tmp_path, [f"{name}/{i:03}.png" for name in ("Cat", "Dog") for i in range(60)])
    for name in ("Cat/000.png", "Cat/031.png", "Cat/032.png", "Dog/059.png"):
        (tmp_path / name).write_bytes(b"broken")
    loaded = []
    for cores in (1, 2, 3, 64):
        monkeypatch.setattr(decoding, "_usable_cores", lambda cores=cores: cores)
        loaded.append(load_images(tmp_path, (8, 8), cache=False))
    for dataset in loaded:
        np.testing.assert_array_equal(dataset.images, loaded[0].images)
        np.testing.assert_array_equal(dataset.labels, loaded[0].labels)
        assert dataset.paths == loaded[0].paths
        assert dataset.skipped == loaded[0].skipped
    assert len(loaded[0]) == 116
    assert len(loaded[0].skipped) == 4


def test_the_order_is_sorted_at_every_level(tmp_path):
    expected = ["B/b.png", "B/c.png", "B/a/z.png", "B/b/1.png", "C/a.png", "a/a.png"]
    fill(tmp_path, reversed(expected))
    dataset = load_images(tmp_path, (8, 8))
    assert names_of(dataset.paths, tmp_path) == expected
    assert dataset.class_names == ("B", "C", "a")
    assert dataset.labels.tolist() == [0, 0, 0, 0, 1, 2]


def test_hidden_folders_and_links_to_folders_are_not_entered(tmp_path):
    fill(tmp_path, ["Cat/a.png", "Dog/a.png", ".cache/a.png", "Cat/.old/a.png", "__MACOSX/a.png"])
    try:
        (tmp_path / "Cat" / "loop").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "Cat" / "file.png").symlink_to(tmp_path / "Dog" / "a.png")
        (tmp_path / "Cat" / "gone.png").symlink_to(tmp_path / "nowhere")
    except OSError:
        pytest.skip("no symbolic links here")
    dataset = load_images(tmp_path, (8, 8))
    assert names_of(dataset.paths, tmp_path) == ["Cat/a.png", "Cat/file.png", "Dog/a.png"]
    skipped = names_of([file.path for file in dataset.skipped], tmp_path)
    assert skipped == [".cache", "Cat/.old", "Cat/gone.png", "Cat/loop", "__MACOSX"]
    assert dataset.skipped[2].reason == os.strerror(2)


def test_ctrl_c_stops_promptly(tmp_path, monkeypatch):
    for name in ("Cat", "Dog"):
        (tmp_path / name).mkdir()
        for i in range(1000):
            (tmp_path / name / f"{i}.jpg").touch()
    decoded = []

    def decode(self, path):
        decoded.append(path)
        if len(decoded) == 5:
            _thread.interrupt_main()
        time.sleep(0.005)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(Preprocessing, "decode", decode)
    threads, filters = threading.active_count(), list(warnings.filters)
    with pytest.raises(KeyboardInterrupt):
        load_images(tmp_path, (8, 8))
    assert 5 <= len(decoded) < 500
    assert threading.active_count() == threads
    assert list(warnings.filters) == filters


def test_the_bar_is_for_terminals(tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    fill(tmp_path, ["Cat/a.png", "Dog/a.png"])
    for stream, progress, shown in [
        (Terminal(), True, True),
        (Terminal(), False, False),
        (io.StringIO(), True, False),
    ]:
        monkeypatch.setattr(sys, "stderr", stream)
        load_images(tmp_path, progress=progress)
        assert ("2/2" in stream.getvalue()) == shown
        assert bool(stream.getvalue()) == shown
