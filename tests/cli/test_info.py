"""`ferrocnn info`: what it says of a model, in text and JSON."""

import json
from pathlib import Path

from cli_cases import read_json, succeed

import ferrocnn


class TestInfo:
    def test_text(self, model: Path) -> None:
        output = succeed("info", model).stdout
        assert ferrocnn.load(model).summary() in output
        for part in ("Cat, Dog", "16 x 16", "bilinear", f"{model.stat().st_size:,} bytes", "adam"):
            assert part in output

    def test_json(self, model: Path) -> None:
        found = read_json(succeed("info", model, "--json"))
        known = ferrocnn.load(model)
        assert known.preprocessing is not None
        assert found["class_names"] == ["Cat", "Dog"]
        assert found["architecture"] == json.loads(json.dumps(known.config()))
        assert found["parameters"] == sum(v.size for v in known.parameters().values())
        assert found["preprocessing"] == json.loads(json.dumps(known.preprocessing.to_dict()))
        assert found["file_size"] == model.stat().st_size
        # 16x16x16 and 8x8x32 outputs of 3x3 windows over 3 and 16 channels, then dense layers.
        dense = 4 * 4 * 32 * 128 + 128 * 64 + 64
        assert found["multiply_adds"] == 16 * 16 * 16 * 27 + 8 * 8 * 32 * 144 + dense
