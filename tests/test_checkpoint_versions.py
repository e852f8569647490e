"""Version 2 of the model file: every argument and statistic in it, and files of version 1."""

import json
from pathlib import Path

import numpy as np
import pytest

import ferrocnn
from ferrocnn import CNN, Conv, ModelFileError
from ferrocnn.checkpoint import read_model_file
from test_checkpoint import change_record, rewrite

SHAPE = (16, 17, 3)
BLOCKS = [(4, 3), Conv(5, 3, "avg", batch_norm=False), Conv(6, 2, None, stride=2)]
IMAGES = np.random.default_rng(1).integers(0, 256, (5, *SHAPE), dtype=np.uint8)


def bits(model: CNN) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.state().items()}


@pytest.fixture
def model() -> CNN:
    model = CNN(
        SHAPE, BLOCKS, [7, 3], "valid", activation="gelu", batch_norm=True, dropout=0.25,
        spatial_dropout=0.125, global_average_pool=True, seed=3,
    )  # fmt: skip
    model.class_names, model.flip_average = ("a", "b", "c"), True
    model.backward(IMAGES, [0, 1, 2, 0, 1], 0.1)
    return model


@pytest.fixture
def path(model: CNN, tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    model.save(path)
    return path


def test_all_arguments_statistics_and_records_come_back(model: CNN, path: Path) -> None:
    loaded = ferrocnn.load(path)
    assert loaded.architecture == model.architecture
    assert repr(loaded) == repr(model)
    assert bits(loaded) == bits(model)
    assert loaded.flip_average is True
    assert loaded.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(loaded.predict_proba(IMAGES), model.predict_proba(IMAGES))
    with np.load(path) as file:
        assert set(file.files) == {
            "record",
            *("conv1.weight", "norm1.gamma", "norm1.beta"),
            *("norm1.running_mean", "norm1.running_var"),
            *("conv2.weight", "conv2.bias", "conv3.weight", "norm3.gamma", "norm3.beta"),
            *("norm3.running_mean", "norm3.running_var"),
            *("dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias"),
        }
        assert (file["norm1.running_mean"] != 0).any()
        record = json.loads(str(file["record"]))
    assert (record["format_version"], record["flip_average"]) == (2, True)
    block = {"filters": 5, "size": 3, "pool": "avg", "stride": 1, "batch_norm": False}
    assert record["config"]["conv_filters"][:2] == [[4, 3], block]


def test_load_fills_statistics_and_another_architecture_is_refused(model: CNN, path: Path) -> None:
    other = CNN(**(model.config() | {"seed": 9}))
    other.load(path)
    assert bits(other) == bits(model)
    assert other.config() == model.config()  # the seed of these weights, too
    assert other.flip_average
    for changes in ({"activation": "relu"}, {"dropout": 0.5}, {"global_average_pool": False}):
        other = CNN(**(model.config() | changes))
        before = bits(other)
        with pytest.raises(ModelFileError, match=f"expected a model with {next(iter(changes))}"):
            other.load(path)
        assert bits(other) == before


def version_1(path: Path) -> dict[str, np.ndarray]:
    """Write a file as format version 1 was: four arguments, pairs of arrays, no other key."""
    shapes = {
        "conv1.weight": (3, 3, 3, 4), "conv1.bias": (4,), "conv2.weight": (2, 2, 4, 5),
        "conv2.bias": (5,), "dense1.weight": (4 * 4 * 5, 6), "dense1.bias": (6,),
        "dense2.weight": (6, 1), "dense2.bias": (1,),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    config = {
        "input_shape": list(SHAPE), "conv_filters": [[4, 3], [5, 2]], "fc_layers": [6, 1],
        "padding": "same", "seed": 7,
    }  # fmt: skip
    record = {
        "format": "ferrocnn-model", "format_version": 1, "version": "0.1.0", "config": config,
        "class_names": ["Cat", "Dog"], "preprocessing": None, "training": {"epochs": 2},
    }  # fmt: skip
    with path.open("wb") as file:
        np.savez(file, record=np.array(json.dumps(record)), **arrays)
    return arrays


def test_a_file_of_version_1_is_the_same_model_today(tmp_path: Path) -> None:
    path = tmp_path / "old.npz"
    arrays = version_1(path)
    model = ferrocnn.load(path)
    expected = CNN(SHAPE, [(4, 3), (5, 2)], [6, 1], seed=7)
    assert model.config() == expected.config()
    expected.set_parameters(arrays)
    np.testing.assert_array_equal(model.forward(IMAGES), expected.forward(IMAGES))
    assert (model.class_names, model.training) == (("Cat", "Dog"), {"epochs": 2})
    assert model.flip_average is False
    file = read_model_file(path)
    assert (file.format_version, file.version) == (1, "0.1.0")
    expected.load(path)
    model.save(path)
    assert bits(ferrocnn.load(path)) == bits(expected)


BLOCK = {"filters": 5, "size": 3, "pool": "avg", "stride": 1, "batch_norm": False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, r"config: expected the keys .*'seed'\], got .*surprise"),
        ({"generator": None}, "generator"),
        ({"conv_filters": [[4, 3], BLOCK | {"groups": 2}, BLOCK]}, "conv_filters: .*groups"),
        ({"conv_filters": [[4, 3], {"size": 3}, BLOCK]}, "conv_filters: expected filters"),
        ({"conv_filters": [[4, 3], BLOCK | {"pool": "min"}, BLOCK]}, "conv_filters: .*'min'"),
        ({"conv_filters": [[4, 3], BLOCK | {"pool": ["max"]}, BLOCK]}, "conv_filters: .*pool"),
        ({"conv_filters": [[4, 3], BLOCK | {"stride": 0}, BLOCK]}, "conv_filters: stride"),
        ({"conv_filters": [[4, 3], BLOCK | {"stride": 1.5}, BLOCK]}, "conv_filters: stride"),
        ({"conv_filters": [[4, 3], BLOCK | {"filters": True}, BLOCK]}, "conv_filters: filters"),
        ({"conv_filters": [[4, 3], BLOCK | {"size": 1 << 31}, BLOCK]}, "conv_filters: size"),
        ({"conv_filters": [[4, 3], BLOCK | {"batch_norm": 1}, BLOCK]}, "batch_norm"),
        ({"conv_filters": [[4, 3, 1], BLOCK, BLOCK]}, "conv_filters: expected"),
        ({"conv_filters": [[4, 3], None, BLOCK]}, "conv_filters: expected"),
        ({"conv_filters": [BLOCK | {"filters": 1 << 30, "size": 1 << 30}] * 3}, "arrays|config"),
        ({"activation": "swish"}, "activation: expected one of identity, relu"),
        ({"activation": ["relu"]}, "activation: expected one of"),
        ({"batch_norm": "yes"}, "batch_norm: expected True or False"),
        ({"batch_norm": False}, "expected 10 arrays and record, got 17 entries"),
        ({"dropout": 1}, "dropout: expected at least 0 and below 1"),
        ({"spatial_dropout": "0.5"}, "spatial_dropout: expected a number"),
        ({"global_average_pool": None}, "global_average_pool: expected True or False"),
        ({"fc_layers": [7, 1 << 40]}, "fc_layers"),
    ],
)
def test_hostile_configs_are_refused(model: CNN, path: Path, changes: dict, message: str) -> None:
    change_record(path, config=model.config() | changes)
    with pytest.raises(ModelFileError, match=message):
        ferrocnn.load(path)


def test_a_batch_norm_that_changes_places_is_refused(model: CNN, path: Path) -> None:
    """As many arrays, of other names."""
    blocks = [[4, 3], BLOCK | {"batch_norm": True}, BLOCK | {"filters": 6, "size": 2, "pool": None}]
    change_record(path, config=model.config() | {"conv_filters": blocks})
    with pytest.raises(ModelFileError, match="expected the entries"):
        ferrocnn.load(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ({"norm1.running_var": np.float32([1, -1e-6, 1, 1])}, r"norm1\.running_var: expected val"),
        ({"norm1.running_var": np.float32([1, np.inf, 1, 1])}, r"norm1\.running_var: .*finite"),
        ({"norm1.running_mean": np.zeros(4)}, r"norm1\.running_mean: .*float32"),
        ({"norm1.gamma": np.zeros(5, np.float32)}, r"norm1\.gamma: expected \(4,\)"),
        ({"norm1.running_mean": None}, "expected 16 arrays and record, got 16 entries"),
        ({"norm1.running_mean": None, "norm2.running_mean": np.zeros(4, "f")}, "expected the ent"),
    ],
)
def test_statistics_that_make_no_sense_are_refused(path: Path, array: dict, message: str) -> None:
    rewrite(path, array)
    with pytest.raises(ModelFileError, match=message):
        ferrocnn.load(path)


@pytest.mark.parametrize("value", [1, "yes", None, []])
def test_a_flip_average_that_is_no_bool_is_refused(model: CNN, path: Path, value: object) -> None:
    change_record(path, flip_average=value)
    with pytest.raises(ModelFileError, match="flip_average: expected"):
        ferrocnn.load(path)
    before = path.read_bytes()
    model.flip_average = value  # type: ignore[assignment]
    with pytest.raises(TypeError, match="flip_average: expected True or False"):
        model.save(path)
    assert path.read_bytes() == before


def test_numbers_of_numpy_are_saved_as_numbers(tmp_path: Path) -> None:
    block = Conv(np.int64(4), np.int32(3), stride=np.uint8(2), batch_norm=np.True_)
    model = CNN(SHAPE, [block], [np.int64(1)], dropout=np.float32(0.5), batch_norm=np.False_)
    model.save(tmp_path / "model.npz")
    assert ferrocnn.load(tmp_path / "model.npz").config() == model.config()
