"""Whatever lies in the cache, and wherever it is: the pixels are right, and nothing fails."""

import errno
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cache_cases import NAMES, check_true, contents, load, write_pets
from ferrocnn import cache as module
from ferrocnn.cache import PictureCache, Pictures
from ferrocnn.preprocessing import Preprocessing


@pytest.fixture
def pets(tmp_path):
    return write_pets(tmp_path / "pets")


@pytest.fixture
def file(pets, cache):
    """The one file of the cache."""
    load(pets)
    (file,) = cache.iterdir()
    return file


def archive_of(entries, **options):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def entries_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_record(content, change):
    """The archive with another record, its checksums in order."""
    entries = entries_of(content)
    record = json.loads(entries["record.json"])
    entries["record.json"] = json.dumps(change(record) or record)
    return archive_of(entries)


def with_block(content, block):
    return archive_of(entries_of(content) | {"0": block})


def numpy_file(_):
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object))
    return stream.getvalue()


DAMAGE = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "one byte less": lambda content: content[:-1],
    "garbage": lambda content: os.urandom(1000),
    "zeros": lambda content: bytes(len(content)),
    "no zip": numpy_file,
    "empty zip": lambda content: archive_of({}),
    "another zip": lambda content: archive_of({"a.txt": "hello"}),
    "compressed": lambda content: archive_of(entries_of(content), compression=zipfile.ZIP_DEFLATED),
    "no JSON": lambda content: archive_of({"record.json": b"\xff{"}),
    "deep JSON": lambda content: archive_of({"record.json": "[" * 10**6}),
    "other JSON": lambda content: archive_of({"record.json": "[1, 2]"}),
    "no files": lambda content: with_record(content, lambda record: record.pop("files") and None),
    "odd files": lambda content: with_record(content, lambda r: r["files"].insert(0, [[], 1, 2])),
    "fewer files": lambda content: with_record(content, lambda r: r["files"].pop()),
    "many files": lambda content: with_record(
        content, lambda record: record["files"].extend([["x", [1, 2, 3], None]] * 10**6)
    ),
    "another key": lambda content: with_record(content, lambda r: r.update(key="other")),
    "no block": lambda content: archive_of({"record.json": entries_of(content)["record.json"]}),
    "short block": lambda content: with_block(content, b"123"),
    "long block": lambda content: with_block(content, bytes(10**6)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_written_anew(pets, file, decoded, damage):
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    check_true(load(pets), pets)
    decoded.clear()
    check_true(load(pets), pets)
    assert max(decoded.values()) == 1  # by `check_true`
    assert load(pets).cached == 6
    assert list(file.parent.iterdir()) == [file]


def test_the_wrong_byte_anywhere(pets, file):
    truth = load(pets, cache=False)
    all_paths = sorted([*truth.paths, *(skipped.path for skipped in truth.skipped)])
    image_of = dict(zip(truth.paths, truth.images, strict=True))
    reason_of = dict(truth.skipped)
    on_disk = PictureCache(pets, all_paths, Preprocessing((8, 8)))
    content = file.read_bytes()
    counts = []
    for position, byte in enumerate(content):
        wrong = byte ^ (0x20 if position % 2 else 0xFF)
        file.write_bytes(content[:position] + bytes([wrong]) + content[position + 1 :])
        pictures = Pictures(
            images=np.zeros((8, 8, 8, 3), np.uint8),
            reasons=[None] * 8,
            settled=np.zeros(8, np.bool_),
        )
        counts.append(on_disk.read(pictures))
        for index in np.flatnonzero(pictures.settled):
            path = all_paths[index]
            assert pictures.reasons[index] == reason_of.get(path)
            if path in image_of:
                np.testing.assert_array_equal(pictures.images[index], image_of[path])
    # Most bytes are guarded; those that are not (the time in a zip entry, say) decide nothing.
    assert set(counts) == {0, 6}
    assert counts.count(0) > 0.8 * len(counts)


def test_the_file_of_another_folder(pets, file, tmp_path):
    shutil.copytree(pets, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "Cat" / "a.png", tmp_path / "other" / "Dog" / "a.png")
    load(tmp_path / "other")
    (other,) = set(file.parent.iterdir()) - {file}
    shutil.copy(other, file)
    assert load(pets).cached == 0
    check_true(load(pets), pets)


class TestPlaces:
    def check_works(self, pets, caplog, words):
        """Loads rightly, with one warning."""
        for _ in range(2):
            caplog.clear()
            dataset = load(pets)
            assert dataset.cached == 0
            check_true(dataset, pets)
            (record,) = caplog.records
            assert record.levelno == logging.WARNING
            assert words in record.getMessage()

    def test_a_folder_that_cannot_be_made(self, pets, cache, caplog):
        cache.write_text("a file")
        self.check_works(pets, caplog, str(cache))
        assert cache.read_text() == "a file"

    def test_a_full_disk(self, pets, cache, caplog, monkeypatch):
        def full(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        self.check_works(pets, caplog, os.strerror(errno.ENOSPC))
        assert contents(cache) == {}

    def test_a_folder_in_the_place_of_the_file(self, pets, file, caplog):
        file.unlink()
        file.mkdir()
        self.check_works(pets, caplog, str(file))

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
    def test_a_pipe_in_the_place_of_the_file(self, pets, file, caplog):
        file.unlink()
        os.mkfifo(file)
        self.check_works(pets, caplog, "pipe")

    def test_a_link_in_the_place_of_the_file(self, pets, file, tmp_path):
        (tmp_path / "letter").write_text("dear")
        file.unlink()
        try:
            file.symlink_to(tmp_path / "letter")
        except OSError:
            pytest.skip("no symbolic links here")
        assert [load(pets).cached for _ in range(2)] == [0, 6]
        assert (tmp_path / "letter").read_text() == "dear"

    def test_no_home(self, pets, caplog, monkeypatch, tmp_path):
        monkeypatch.delenv("FERROCNN_CACHE_DIR")
        monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache"))
        monkeypatch.chdir(tmp_path)
        self.check_works(pets, caplog, "no home folder")
        assert list(tmp_path.iterdir()) == [pets]

    def test_the_platforms_folder(self, pets, tmp_path):
        home = tmp_path / "home"
        home.mkdir()
        variables = {"HOME": str(home), "LOCALAPPDATA": str(home)}
        dropped = ("FERROCNN_CACHE_DIR", "XDG_CACHE_HOME")
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        code = "import sys, ferrocnn; ferrocnn.load_images(sys.argv[1])"
        subprocess.run([sys.executable, "-c", code, pets], env=kept | variables, check=True)
        (file,) = contents(home)
        assert "ferrocnn" in Path(file).parts

    @pytest.mark.skipif(os.name == "nt", reason="no permissions of this kind")
    def test_others_cannot_look_in(self, pets, cache):
        load(pets)
        assert cache.stat().st_mode & 0o077 == 0


class TestBound:
    @pytest.fixture
    def folders(self, tmp_path):
        return [write_pets(tmp_path / name) for name in ("first", "second", "third")]

    def size(self, cache):
        return sum(map(len, contents(cache).values()))

    def test_the_least_recently_used_go(self, folders, cache, monkeypatch):
        first, second, third = folders
        for age, folder in enumerate((second, first), start=1):
            load(folder)
            (file,) = (path for path in cache.iterdir() if time.time() - path.stat().st_mtime < 9)
            os.utime(file, (10**9 - age, 10**9 - age))
        assert load(first).cached == 6  # used: now the younger
        (cache / "letter.txt").write_text("dear")
        (cache / "0123.zip").write_text("dear")
        monkeypatch.setattr(module, "LIMIT", self.size(cache) + 8)
        load(third)
        assert [load(folder).cached for folder in (first, third)] == [6, 6]
        assert self.size(cache) <= module.LIMIT + 8
        assert (cache / "letter.txt").exists()
        assert (cache / "0123.zip").exists()
        assert load(second).cached == 0

    def test_what_is_too_large_is_not_kept(self, folders, cache, monkeypatch, caplog):
        monkeypatch.setattr(module, "LIMIT", len(NAMES) * 8 * 8 * 3)
        assert [load(folders[0]).cached for _ in range(2)] == [0, 0]
        assert not cache.exists()
        assert not caplog.records

    def test_what_broken_off_writers_left_goes(self, folders, cache):
        load(folders[0])
        old, new = (cache / f".ferrocnn-{name}.tmp" for name in ("old", "new"))
        for path in (old, new):
            path.write_bytes(b"half")
        os.utime(old, (10**9, 10**9))
        load(folders[1])
        assert not old.exists()
        assert new.exists()
