"""`ferrocnn train --image-size`: what a recipe can take."""

from pathlib import Path

import pytest
from cli_cases import error_line, invoke

from ferrocnn.recipes import RECIPES


@pytest.mark.parametrize("name", ["fast", "best"])
def test_the_smallest_size_that_a_message_names_is_the_smallest_that_works(
    name: str, pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    halvings = sum(getattr(block, "pool", "max") == "max" for block in RECIPES[name].conv_filters)
    words = ("train", pets, "--recipe", name, "--epochs", "3", "--image-size")
    line = error_line(invoke(*words, "4"))
    least = int(line.split("at least ")[1].split()[0])
    # The smallest images of the run must leave a pixel after every pool.
    assert round(least * min(RECIPES[name].progressive)) >= 2**halvings
    assert round((least - 1) * min(RECIPES[name].progressive)) < 2**halvings
    assert f"expected at least {least} for the recipe {name}, got 4" in line
    assert f"got {least - 1}" in error_line(invoke(*words, str(least - 1)))
