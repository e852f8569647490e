"""`ferrocnn info`: what it says of a model, in text and JSON."""

import json
from pathlib import Path

import numpy as np
from cli_cases import ZOO, read_json, succeed

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

    def test_text_tells_how_it_was_made(self, zoo_model: Path) -> None:
        output = succeed("info", zoo_model).stdout
        assert ferrocnn.load(zoo_model).summary() in output
        lines = [line.strip() for line in output.splitlines()]
        assert "classes  4: Ant, Bee, Cow, Dog" in lines
        shown = dict(line.split(maxsplit=1) for line in lines if " " in line)
        assert shown["batch_norm"] == "yes"
        assert shown["dropout"] == "0.1"
        assert shown["flip_average"] == "yes"
        assert shown["optimizer"].startswith("adamw, learning_rate 0.02, weight_decay 0.01")
        assert shown["schedule"].startswith("one-cycle, peak 0.3")
        assert shown["augment"].startswith("flip yes, shift 1")
        assert "mixup" not in shown["augment"]
        assert shown["label_smoothing"] == "0.1"
        assert shown["average"] == "0.9"
        assert shown["clip_norm"] == "none"

    def test_json_tells_how_it_was_made(self, zoo_model: Path) -> None:
        found = read_json(succeed("info", zoo_model, "--json"))
        assert found["class_names"] == list(ZOO)
        assert found["flip_average"] is True
        assert found["architecture"]["batch_norm"] is True
        assert found["architecture"]["conv_filters"] == [
            {"filters": 8, "size": 5, "pool": "avg", "stride": 2, "batch_norm": None},
            [8, 3],
        ]
        assert found["training"]["optimizer"]["name"] == "adamw"
        assert found["training"]["augment"]["shift"] == 1

    def test_a_model_of_bare_arrays(self, tmp_path: Path) -> None:
        ferrocnn.CNN((8, 8, 1), [(2, 3)], [10], seed=0).save(tmp_path / "bare.npz")
        assert "10: not named" in succeed("info", tmp_path / "bare.npz").stdout

    def test_an_older_file_is_called_so(self, tmp_path: Path) -> None:
        path = tmp_path / "old.npz"
        ferrocnn.CNN((8, 8, 1), [(2, 3)], [10], seed=0).save(path)
        with np.load(path) as file:
            entries = dict(file)
        record = json.loads(str(entries["record"])) | {"format_version": 1}
        kept = ("input_shape", "conv_filters", "fc_layers", "padding", "seed")
        record["config"] = {name: record["config"][name] for name in kept}
        np.savez(path, **entries | {"record": np.array(json.dumps(record))})
        assert "ferrocnn-model 1, written" in succeed("info", path).stdout
        assert read_json(succeed("info", path, "--json"))["format_version"] == 1
