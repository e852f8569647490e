"""Decoding in processes gives what decoding in threads gives, whatever befalls the processes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image, ImageFile

from cache_cases import check_same, load
from ferrocnn import decoding, images
from ferrocnn.decoding import Decoder
from ferrocnn.preprocessing import Preprocessing
from image_cases import dirty_folder, fill, picture

pytestmark = pytest.mark.usefixtures("cache")

NAMES = [f"{name}/{i:02}.png" for name in ("Cat", "Dog") for i in range(40)]


@pytest.fixture
def pets(tmp_path):
    return fill(tmp_path / "pets", NAMES)


@pytest.fixture
def started(monkeypatch):
    """The processes that a folder of any number of files is given; none is left afterwards."""
    processes = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    monkeypatch.setattr(decoding, "_MANY", 0)
    monkeypatch.setattr(decoding, "_usable_cores", lambda: 2)
    yield processes
    assert all(process.returncode is not None for process in processes)
    assert all(process.stdin.closed and process.stdout.closed for process in processes)


@pytest.fixture
def in_process(monkeypatch, decoded):
    """Insert code into what a process runs, where a picture is decoded; `path` is its name."""

    def insert(code):
        patch = (
            "import os, time; from ferrocnn.preprocessing import Preprocessing as P\n"
            "decode = P.decode\n"
            f"def patched(self, path):\n    {code}\n    return decode(self, path)\n"
            "P.decode = patched\n"
        )
        program = decoding._PROGRAM.replace("serve(", patch + "serve(")
        monkeypatch.setattr(decoding, "_PROGRAM", program)

    return insert


def in_threads(folder, size=(8, 8)):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_MANY", 10**9)
        return load(folder, size, cache=False)


class TestSame:
    def test_dirt(self, pets, started, decoded):
        dirty_folder(pets)
        missing = 0
        try:
            (pets / "Cat" / "gone.png").symlink_to(pets / "nowhere")
            missing = 1
            picture(1).save(pets / "Dog" / "two\nlines.png")
            with open(os.fsencode(pets / "Dog") + b"/\xff.png", "wb") as file:
                picture(2).save(file, "PNG")
        except OSError:
            pass  # not every file system has such names
        dataset = load(pets)
        assert not decoded
        assert len(started) == 2
        check_same(dataset, in_threads(pets))
        again = load(pets)
        assert again.cached == len(dataset)
        assert len(started) == 2 + missing  # what the system refused is tried again
        check_same(again, dataset)

    @pytest.mark.parametrize("size", [(64, 48), (1, 1)])
    def test_sizes(self, pets, started, decoded, size):
        dataset = load(pets, size)
        assert not decoded
        check_same(dataset, in_threads(pets, size))

    def test_limits_of_the_program(self, pets, started, decoded, monkeypatch):
        picture(1, (60, 60)).save(pets / "Cat" / "large.png")
        picture(2).save(pets / "Cat" / "cut.jpg")
        content = (pets / "Cat" / "cut.jpg").read_bytes()
        (pets / "Cat" / "cut.jpg").write_bytes(content[:-30])
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        dataset = load(pets)
        assert not decoded
        assert [file.path.name for file in dataset.skipped] == ["large.png"]
        check_same(dataset, in_threads(pets))

    def test_in_a_thread_of_the_program(self, pets, started):
        with ThreadPoolExecutor(2) as pool:
            for dataset in pool.map(lambda _: load(pets), range(2)):
                check_same(dataset, in_threads(pets))


class TestNoProcess:
    """The threads decode."""

    def check(self, pets, decoded):
        dataset = load(pets)
        assert sum(decoded.values()) == len(NAMES)
        check_same(dataset, in_threads(pets))

    def test_few_files(self, pets, started, decoded, monkeypatch):
        monkeypatch.setattr(decoding, "_MANY", len(NAMES) + 1)
        self.check(pets, decoded)
        assert not started

    def test_one_core(self, pets, started, decoded, monkeypatch):
        monkeypatch.setattr(decoding, "_usable_cores", lambda: 1)
        self.check(pets, decoded)
        assert not started

    def test_a_format_that_the_program_adds(self, pets, started, monkeypatch):
        (pets / "Cat" / "page").write_text("<html>")
        monkeypatch.setattr(Image, "ID", [*Image.ID])
        monkeypatch.setattr(Image, "OPEN", {**Image.OPEN})
        Image.register_open("PAGE", lambda *_: picture(5), lambda prefix: prefix[:5] == b"<html")
        dataset = load(pets)
        assert not dataset.skipped
        check_same(dataset, in_threads(pets))

    def test_a_limit_that_json_has_not(self, pets, started, decoded, monkeypatch):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", object())
        self.check(pets, decoded)

    @pytest.mark.parametrize("name", ["python-that-is-not-there", "editor", "", None])
    def test_no_python(self, pets, started, decoded, monkeypatch, name):
        monkeypatch.setattr(sys, "executable", name)
        self.check(pets, decoded)
        assert not started

    @pytest.mark.parametrize("program", ["", "1 / 0", "print('hello')", "import sys; sys.exit(3)"])
    def test_a_process_that_cannot_start(self, pets, started, decoded, monkeypatch, program):
        monkeypatch.setattr(decoding, "_PROGRAM", program)
        self.check(pets, decoded)
        assert len(started) == 2


class TestDeath:
    def test_all_are_killed_once(self, pets, started, decoded, monkeypatch):
        ask = Decoder._ask
        killed = []

        def killing(self, paths):
            for outcome in ask(self, paths):
                yield outcome
                if self not in killed:
                    killed.append(self)
                    self._process.kill()
                    self._process.wait()

        monkeypatch.setattr(Decoder, "_ask", killing)
        dataset = load(pets, (64, 64))  # more than the pipe holds is not there yet
        assert len(killed) == 2
        assert len(started) == 4
        assert not decoded
        check_same(dataset, in_threads(pets, (64, 64)))

    def test_a_file_that_ends_each_process_is_skipped_for_now(self, pets, started, in_process):
        in_process("if path.endswith(('07.png', '08.png', 'Dog/39.png')): os._exit(11)")
        dataset = load(pets)
        skipped = [file.path.relative_to(pets).as_posix() for file in dataset.skipped]
        assert skipped == ["Cat/07.png", "Cat/08.png", "Dog/07.png", "Dog/08.png", "Dog/39.png"]
        assert {file.reason for file in dataset.skipped} == {
            "the process that decodes it died twice (exit code 11)"
        }
        assert len(dataset) == len(NAMES) - 5
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoding, "_MANY", 10**9)
            again = load(pets)
        assert again.cached == len(dataset)
        check_same(again, in_threads(pets))

    @pytest.mark.parametrize("reply", ["", "[nu", "[null, true]", "[null, true]\\n"])
    def test_in_the_middle_of_a_reply(self, pets, started, monkeypatch, reply):
        program = (
            "import json, sys\n"
            "print(json.dumps(json.loads(sys.stdin.readline())['facts']), flush=True)\n"
            f"sys.stdin.readline(); print('{reply}', end='')"
        )
        monkeypatch.setattr(decoding, "_PROGRAM", program)
        decoder = Decoder(Preprocessing((8, 8)), own_process=True)
        (outcome,) = decoder.decode([pets / "Cat" / "00.png"])
        assert outcome.pixels is None
        assert "died twice" in outcome.reason
        assert not outcome.settled
        decoder.close()
        assert len(started) == 2

    def test_what_libraries_print_does_no_harm(self, pets, started, in_process, decoded):
        in_process("print('[null, true]', flush=True); os.write(1, b'warning')")
        dataset = load(pets)
        assert not decoded
        check_same(dataset, in_threads(pets))


def test_an_error_in_this_process_leaves_none_behind(pets, started, monkeypatch):
    class Full(list):
        def __setitem__(self, index, value):
            raise MemoryError

    pictures = images.Pictures

    def full(**fields):
        return pictures(**{**fields, "reasons": Full(fields["reasons"])})

    monkeypatch.setattr(images, "Pictures", full)
    with pytest.raises(MemoryError):
        load(pets, cache=False)
    assert started
