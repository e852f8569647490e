"""The wheel: what it holds, and that it works in an empty environment of each Python here."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"PIL", "tqdm", "click", "matplotlib", "platformdirs", "tensorboardX"}

# Which Python is this? Prints nothing for one that the wheel is not for.
IDENTIFY = """
import json, sys, sysconfig, venv
if (
    sys.implementation.name == "cpython"
    and sys.version_info[:2] >= (3, 11)
    and sys.version_info.releaselevel == "final"
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
):
    print(json.dumps([*sys.version_info[:2], sys.executable]))
"""

# What a user does first, without the command line.
SMOKE = """
import sys
from pathlib import Path

import numpy as np

import ferrocnn

assert Path(ferrocnn.__file__).is_relative_to(sys.prefix), ferrocnn.__file__
images = np.zeros((8, 8, 8, 3), np.uint8)
images[4:] = 255
labels = np.arange(8) >= 4
model = ferrocnn.CNN(input_shape=(8, 8, 3), conv_filters=[(4, 3)], fc_layers=[4, 1], seed=0)
history = ferrocnn.train(
    model, images, labels, epochs=100, learning_rate=0.01, optimizer="adam", seed=0, progress=False
)
assert history.loss[-1] < history.loss[0]
model.save("model.npz")
assert np.array_equal(ferrocnn.load("model.npz").predict(images), labels)
"""


def _candidates() -> list[Path]:
    names = [f"python3.{minor}" for minor in range(11, 40)]
    found = [Path(sys.executable)]
    found += [Path(folder, name) for folder in os.get_exec_path() for name in names]
    pyenv = os.environ.get("PYENV_ROOT")
    if pyenv:
        found += sorted(Path(pyenv, "versions").glob("*/bin/python"))
    return [path for path in found if path.is_file()]


def _pythons() -> dict[str, str]:
    """Version ("3.12") to executable, of each CPython from 3.11 that runs on this machine."""
    pythons: dict[str, str] = {}
    for candidate in _candidates():
        result = subprocess.run([candidate, "-I", "-c", IDENTIFY], capture_output=True, text=True)
        if result.returncode == 0 and result.stdout:
            major, minor, executable = json.loads(result.stdout)
            pythons.setdefault(f"{major}.{minor}", executable)
    return pythons


PYTHONS = _pythons()


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "maturin", "build", "--release", "--out", folder, cwd=ROOT)
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_is_small_and_serves_every_python_from_3_11(wheel: Path) -> None:
    assert wheel.stat().st_size < 3_000_000
    assert wheel.name.split("-")[2:4] == ["cp311", "abi3"]


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"ferrocnn/py.typed", "ferrocnn/_kernels.pyi", "ferrocnn/cli/__init__.py"} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    in_package = [name for name in names if ".dist-info/" not in name]
    assert all(name.startswith("ferrocnn/") for name in in_package)
    assert {Path(name).suffix for name in in_package} <= {".py", ".pyi", ".typed", ".so", ".pyd"}


@pytest.mark.parametrize("version", PYTHONS)
def test_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path, version: str) -> None:
    venv, elsewhere = tmp_path / "venv", tmp_path / "elsewhere"
    elsewhere.mkdir()
    # Without pip: some systems ship Python without what installs it. Ours reaches in instead.
    run(PYTHONS[version], "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    scripts = venv / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel, cwd=tmp_path)

    run(python, "-I", "-c", SMOKE, cwd=elsewhere)
    assert (elsewhere / "model.npz").is_file()
    script = shutil.which("ferrocnn", path=scripts)
    assert script is not None
    expected = f"ferrocnn {wheel.name.split('-')[1]}"
    assert run(script, "--version", cwd=elsewhere).strip() == expected
    assert run(python, "-I", "-m", "ferrocnn", "--version", cwd=elsewhere).strip() == expected


def test_import_leaves_the_heavy_libraries_alone(tmp_path: Path) -> None:
    code = "import sys, ferrocnn; print(*sys.modules)"
    modules = run(sys.executable, "-c", code, cwd=tmp_path).split()
    loaded = {name.partition(".")[0] for name in modules}
    assert "ferrocnn" in loaded
    assert not loaded & HEAVY
