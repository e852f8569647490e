"""Programs that load in processes: however they are written, started and ended."""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ferrocnn
from cache_cases import check_same, load
from image_cases import fill

pytestmark = pytest.mark.usefixtures("cache")

NAMES = [f"{name}/{i:03}.png" for name in ("Cat", "Dog") for i in range(40)]

# No main guard; what this program decodes itself fails.
PROGRAM = """
import sys
print("started", flush=True)
from ferrocnn import decoding, load_images, preprocessing
decoding._MANY = 0
decoding._usable_cores = lambda: 2
def refuse(self, path): raise ValueError("decoded in the program")
preprocessing.Preprocessing.decode = refuse
"""
LOAD = "print(len(load_images(sys.argv[1], (8, 8))), flush=True)\n"


@pytest.fixture
def pets(tmp_path):
    return fill(tmp_path / "pets", NAMES)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "scripts" / "train_it.py"
    path.parent.mkdir()
    path.write_text(PROGRAM + LOAD)
    return path


def printed(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, **options)
    return done.stdout.split()


class TestWays:
    @pytest.mark.parametrize("options", [(), ("-I",), ("-X", "utf8", "-W", "error")])
    def test_script_without_main_guard(self, script, pets, options):
        assert printed(sys.executable, *options, script, pets) == ["started", "80"]

    def test_standard_input(self, pets):
        assert printed(sys.executable, "-", pets, input=PROGRAM + LOAD) == ["started", "80"]

    def test_modules_in_the_working_folder_are_not_run(self, script, pets, tmp_path):
        other = tmp_path / "other"
        other.mkdir()
        for name in ("json", "numpy", "PIL", "ferrocnn", "signal", "queue"):
            (other / f"{name}.py").write_text(f"print('ran {name}'); raise SystemExit(1)")
        pets.rename(other / "pets")
        assert printed(sys.executable, script, "pets", cwd=other) == ["started", "80"]

    def test_path_that_the_program_changed(self, script, pets, tmp_path):
        shutil.copytree(Path(ferrocnn.__file__).parent, tmp_path / "lib" / "ferrocnn")
        changed = tmp_path / "lib" / "ferrocnn" / "preprocessing.py"
        text = changed.read_text()
        changed.write_text(text.replace("\nDECODE_VERSION = ", "\nDECODE_VERSION = 1000 + "))
        insert = f"import sys; sys.path.insert(0, {str(tmp_path / 'lib')!r})\n"
        script.write_text(insert + PROGRAM + LOAD + "print(preprocessing.DECODE_VERSION > 999)")
        assert printed(sys.executable, script, pets) == ["started", "80", "True"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_after_fork(self, script, pets):
        code = "import os, threading\n" + LOAD + "if os.fork() == 0:\n    " + LOAD
        code += "    os._exit(0)\nos.wait()\n"
        script.write_text(PROGRAM + code)
        words = printed(sys.executable, script, pets)
        assert words == ["started", "80", "80"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
class TestEnds:
    """Processes hold a named pipe open, and write a byte into it for each picture they begin."""

    def start(self, script, pets, fifo, seconds):
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        patch = (
            "import os, time; from ferrocnn.preprocessing import Preprocessing as P\n"
            f"decode = P.decode; fifo = os.open({str(fifo)!r}, os.O_WRONLY)\n"
            "def patched(self, path):\n"
            f"    os.write(fifo, b'.'); time.sleep({seconds}); return decode(self, path)\n"
            "P.decode = patched\n"
        )
        insert = f"decoding._PROGRAM = decoding._PROGRAM.replace('serve(', {patch!r} + 'serve(')\n"
        script.write_text(PROGRAM + insert + LOAD.replace("[1], (8, 8)", "[1], (64, 64)"))
        program = subprocess.Popen(
            [sys.executable, script, pets],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return program, reader

    def read(self, reader, count=None):
        """Read so many bytes, or up to the end: no process has the pipe open any more."""
        got = 0
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (count is None or got < count):
            if select.select([reader], [], [], 1)[0]:
                data = os.read(reader, 1)
                if not data and (count is None):
                    return
                got += len(data)
        assert count is not None, "a process outlives the program"
        assert got >= count

    @pytest.mark.parametrize("whole_group", [True, False])
    def test_ctrl_c(self, script, pets, tmp_path, whole_group):
        program, reader = self.start(script, pets, tmp_path / "fifo", 0.02)
        self.read(reader, 40)
        (os.killpg if whole_group else os.kill)(program.pid, signal.SIGINT)
        self.read(reader)
        errors = program.communicate(timeout=60)[1]
        os.close(reader)
        assert program.returncode == -signal.SIGINT
        assert errors.count("Traceback") == 1
        assert errors.splitlines()[-1] == "KeyboardInterrupt"
        dataset = load(pets, (64, 64))
        assert 20 <= dataset.cached < 80
        check_same(dataset, load(pets, (64, 64), cache=False))

    @pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
    def test_killed_while_a_picture_takes_long(self, script, pets, tmp_path, name):
        program, reader = self.start(script, pets, tmp_path / "fifo", 600)
        self.read(reader, 2)
        program.send_signal(getattr(signal, name))
        self.read(reader)
        program.communicate(timeout=60)
        os.close(reader)
