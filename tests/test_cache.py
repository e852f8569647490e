"""The second run takes from the cache what is still true, and decodes the rest."""

import _thread
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import PIL
import pytest
from PIL import Image, ImageFile

from cache_cases import check_same, check_true, contents, load, write_pets
from ferrocnn import cache as module
from ferrocnn import decoding
from ferrocnn.preprocessing import Preprocessing
from image_cases import fill, picture

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def pets(tmp_path):
    return write_pets(tmp_path / "pets")


def change_size(path):
    picture(77, (30, 30)).save(path)


def change_time(path):
    os.utime(path, ns=(10**18, 10**18))


def change_content_alone(path):
    """Same size and time of change: an archive unpacked over another does that."""
    before = path.stat()
    content = path.read_bytes()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # clocks of file systems are coarse
        path.write_bytes(content[:-1] + b"!")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns == before.st_mtime_ns


class TestSecondRun:
    def test_decodes_nothing_and_gives_the_same(self, pets, decoded):
        first = load(pets)
        assert (first.cached, sum(decoded.values())) == (0, 8)
        decoded.clear()
        second = load(pets)
        assert (second.cached, sum(decoded.values())) == (6, 0)
        assert [file.path.name for file in second.skipped] == ["empty.jpg", "page.jpg"]
        check_same(first, second)
        check_true(second, pets)

    def test_arrays_are_the_callers_own(self, pets):
        load(pets).images[:] = 0
        again = load(pets)
        again.images[:] = 1
        check_true(load(pets), pets)

    def test_nothing_lies_beside_the_files(self, pets, tmp_path, monkeypatch):
        monkeypatch.chdir(pets)
        before = contents(tmp_path)
        load(pets)
        load(pets)
        after = contents(tmp_path)
        assert {name for name in after if name not in before} == {
            name for name in after if name.startswith("cache/")
        }
        assert before.items() <= after.items()

    @pytest.mark.parametrize("rows", [1, 2, 4, 6])
    def test_in_blocks(self, pets, decoded, monkeypatch, rows):
        monkeypatch.setattr(module, "_BLOCK_BYTES", rows * 8 * 8 * 3)
        load(pets)
        (pets / "Cat" / "b.png").unlink()
        change_size(pets / "Dog" / "a.png")
        decoded.clear()
        dataset = load(pets)
        assert decoded == {"Dog/a.png": 1}
        assert dataset.cached == 4
        check_true(dataset, pets)

    def test_one_folder_by_any_path(self, pets, decoded, monkeypatch):
        load(pets)
        decoded.clear()
        monkeypatch.chdir(pets)
        here = load(".")
        assert (here.paths[0].as_posix(), here.cached) == ("Cat/a.png", 6)
        monkeypatch.chdir(pets.parent)
        for name in ("pets", "./pets/", "pets/../pets", str(pets)):
            assert load(name).cached == 6
        assert not decoded

    def test_names_that_are_no_text(self, pets):
        try:
            os.rename(pets / "Cat" / "a.png", os.fsencode(pets) + b"/Cat/\xff.png")
        except OSError:
            pytest.skip("this file system takes text alone")
        assert load(pets).cached == 0
        assert load(pets).cached == 6

    def test_an_argument_that_is_no_bool(self, pets):
        with pytest.raises(TypeError, match=r"^cache: expected True or False, got 'somewhere'"):
            load(pets, cache="somewhere")


class TestChanges:
    @pytest.mark.parametrize("change", [change_size, change_time, change_content_alone])
    def test_a_changed_file_alone_is_decoded(self, pets, decoded, change):
        if change is change_content_alone and os.name == "nt":
            pytest.skip("no time of inode change here")
        load(pets)
        change(pets / "Dog" / "b.png")
        decoded.clear()
        assert load(pets).cached == 5
        assert decoded == {"Dog/b.png": 1}
        decoded.clear()
        assert load(pets).cached == 6
        assert not decoded
        check_true(load(pets), pets)

    def test_files_that_come_go_and_move(self, pets, decoded):
        load(pets)
        (pets / "Cat" / "a.png").unlink()
        picture(50).save(pets / "Cat" / "0.png")
        (pets / "Cat" / "c.png").replace(pets / "Dog" / "a.png")
        decoded.clear()
        dataset = load(pets)
        assert decoded == {"Cat/0.png": 1, "Dog/a.png": 1}
        check_true(dataset, pets)

    def test_a_picture_becomes_broken_and_whole_again(self, pets, decoded):
        load(pets)
        (pets / "Cat" / "a.png").write_bytes(b"broken")
        picture(9).save(pets / "Dog" / "page.jpg")
        for _ in range(2):
            dataset = load(pets)
            assert [file.path.name for file in dataset.skipped] == ["a.png", "empty.jpg"]
        check_true(dataset, pets)

    def test_a_file_that_changes_while_it_is_read(self, pets, monkeypatch):
        decode = Preprocessing.decode
        path = pets / "Cat" / "a.png"

        def changing(self, other):
            if other == path:
                change_size(path)
            return decode(self, other)

        with monkeypatch.context() as patch:
            patch.setattr(Preprocessing, "decode", changing)
            load(pets)
        picture(0).save(path)
        assert load(pets).cached == 5
        check_true(load(pets), pets)

    @pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), MemoryError()])
    def test_what_the_system_refused_is_tried_again(self, pets, monkeypatch, error):
        decode = Preprocessing.decode

        def refusing(self, path):
            if path.name == "a.png":
                raise error
            return decode(self, path)

        with monkeypatch.context() as patch:
            patch.setattr(Preprocessing, "decode", refusing)
            assert [len(load(pets).skipped) for _ in range(2)] == [4, 4]
        dataset = load(pets)
        assert (dataset.cached, len(dataset.skipped)) == (4, 2)
        check_true(dataset, pets)


class TestOtherDecoding:
    def test_each_image_size_has_its_own(self, pets, decoded):
        sizes = [(8, 8), (8, 6), (6, 8)]
        for size in sizes:
            assert load(pets, size).cached == 0
        decoded.clear()
        for size in sizes:
            dataset = load(pets, size)
            assert dataset.cached == 6
            assert dataset.images.shape[1:3] == size
        assert not decoded

    @pytest.mark.parametrize(
        ("owner", "name", "value"),
        [
            (PIL, "__version__", "99.0"),
            (decoding, "DECODE_VERSION", 99),
            (Image, "MAX_IMAGE_PIXELS", 1000),
            (ImageFile, "LOAD_TRUNCATED_IMAGES", True),
        ],
    )
    def test_another_decoder(self, pets, decoded, monkeypatch, owner, name, value):
        first = load(pets)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            decoded.clear()
            other = load(pets)
            assert (other.cached, sum(decoded.values())) == (0, 8)
            check_true(other, pets)
        assert load(pets).cached == 6
        check_same(load(pets), first)

    def test_a_format_that_the_program_adds(self, pets, monkeypatch):
        assert len(load(pets).skipped) == 2
        monkeypatch.setattr(Image, "ID", [*Image.ID])
        monkeypatch.setattr(Image, "OPEN", {**Image.OPEN})
        Image.register_open("PAGE", lambda *_: picture(5), lambda prefix: prefix[:5] == b"<html")
        assert [file.path.name for file in load(pets).skipped] == ["empty.jpg"]


class TestTurnedOff:
    def test_neither_reads_nor_writes(self, pets, cache, decoded):
        load(pets, cache=False)
        assert not cache.exists()
        load(pets)
        before = contents(cache)
        decoded.clear()
        change_size(pets / "Cat" / "a.png")
        assert load(pets, cache=False).cached == 0
        assert sum(decoded.values()) == 8
        assert contents(cache) == before


class TestAtOnce:
    def test_threads(self, pets, cache):
        with ThreadPoolExecutor(8) as pool:
            loaded = list(pool.map(lambda _: load(pets), range(24)))
        for dataset in loaded:
            check_true(dataset, pets)
        assert len(list(cache.iterdir())) == 1
        assert load(pets).cached == 6

    def test_processes(self, pets, cache):
        code = (
            "import sys, ferrocnn, zlib;"
            "print(zlib.crc32(ferrocnn.load_images(sys.argv[1], (8, 8)).images))"
        )
        command = [sys.executable, "-c", code, str(pets)]
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(3)
        ]
        printed = [process.communicate(timeout=120)[0] for process in running]
        assert len(set(printed)) == 1, printed
        assert len(list(cache.iterdir())) == 1
        assert load(pets).cached == 6
        check_true(load(pets), pets)


def test_ctrl_c_keeps_what_was_decoded(tmp_path, monkeypatch, decoded):
    names = [f"{name}/{i:03}.png" for name in ("Cat", "Dog") for i in range(99)]
    folder = fill(tmp_path / "pets", names)
    decode = Preprocessing.decode

    def interrupting(self, path):
        if len(decoded) == 20:
            _thread.interrupt_main()
        time.sleep(0.002)  # else all are decoded before the interrupt arrives
        return decode(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Preprocessing, "decode", interrupting)
        with pytest.raises(KeyboardInterrupt):
            load(folder)
    dataset = load(folder)
    assert 20 <= dataset.cached < 198
    assert len(decoded) == 198
    assert set(decoded.values()) == {1}
    check_true(dataset, folder)
