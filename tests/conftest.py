"""No test touches the user's own cache; and what the tests of the cache share."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_sessionstart() -> None:
    """Hear Ctrl-C, as tests send it.

    A shell that starts something in the background has it ignored, and so would all that the tests
    start.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FERROCNN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache, of this test alone; it is not there yet."""
    monkeypatch.setenv("FERROCNN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photographs() -> Path:
    """The folder of real photographs; without it the test is skipped."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / "PetImages"
    if not folder.is_dir():
        pytest.skip(f"no photographs in {folder}")
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file is decoded, by the name of its folder and its own."""
    from ferrocnn.preprocessing import Preprocessing

    counts: Counter[str] = Counter()
    decode, decode_jpegs = Preprocessing.decode, Preprocessing.decode_jpegs

    def counting(self: Preprocessing, path: Path) -> object:
        counts[f"{path.parent.name}/{path.name}"] += 1
        return decode(self, path)

    def counting_jpegs(self: Preprocessing, paths: list[Path]) -> list[object]:
        found = decode_jpegs(self, paths)
        decoded = [path for path, pixels in zip(paths, found, strict=True) if pixels is not None]
        counts.update(f"{path.parent.name}/{path.name}" for path in decoded)
        return found

    monkeypatch.setattr(Preprocessing, "decode", counting)
    monkeypatch.setattr(Preprocessing, "decode_jpegs", counting_jpegs)
    return counts
