"""Model files: the same bits back, whole or not at all, and nothing hostile gets in."""

import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ferrocnn
from ferrocnn import CNN, ModelFileError
from ferrocnn.checkpoint import read_model_file
from ferrocnn.preprocessing import Preprocessing

SHAPE = (8, 8, 3)


def small_model(seed: int = 0, **changes: object) -> CNN:
    arguments = {"input_shape": SHAPE, "conv_filters": [(4, 3)], "fc_layers": [5, 1]} | changes
    return CNN(**arguments, seed=seed)


def bits(model: CNN) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.parameters().items()}


@pytest.fixture
def model() -> CNN:
    model = small_model()
    model.class_names = ("Cat", "Dög")
    model.preprocessing = Preprocessing(image_size=(8, 8))
    model.training = {"epochs": 3, "val_accuracy": 0.75, "optimizer": "adam"}
    return model


@pytest.fixture
def path(model: CNN, tmp_path: Path) -> Path:
    path = tmp_path / "model.npz"
    model.save(path)
    return path


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, *SHAPE), dtype=np.uint8)


def rewrite(path: Path, changes: dict[str, np.ndarray | bytes | None]) -> None:
    """Write the file again with some members replaced, added or (None) dropped."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, value in changes.items():
        if isinstance(value, np.ndarray):
            buffer = io.BytesIO()
            np.save(buffer, value, allow_pickle=True)
            value = buffer.getvalue()
        if value is None:
            del members[f"{name}.npy"]
        else:
            members[f"{name}.npy"] = value
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def change_record(path: Path, **changes: object) -> None:
    with np.load(path) as file:
        record = json.loads(str(file["record"])) | changes
    rewrite(path, {"record": np.array(json.dumps(record))})


def test_a_loaded_model_is_the_saved_one(model: CNN, path: Path, images: np.ndarray) -> None:
    loaded = ferrocnn.load(path)
    assert bits(loaded) == bits(model)
    assert loaded.forward(images).tobytes() == model.forward(images).tobytes()
    assert loaded.config() == model.config()
    assert loaded.class_names == ("Cat", "Dög")
    assert loaded.preprocessing == model.preprocessing
    assert loaded.training == model.training


def test_load_fills_a_model_of_the_same_architecture(model: CNN, path: Path) -> None:
    other = small_model(seed=9)
    live = other.parameters()["conv1.weight"]
    other.load(path)
    assert bits(other) == bits(model)
    assert live is other.parameters()["conv1.weight"]
    assert other.class_names == model.class_names


def test_a_file_of_another_architecture_changes_nothing(path: Path) -> None:
    other = small_model(fc_layers=[6, 1])
    before = bits(other)
    with pytest.raises(ModelFileError, match=r"fc_layers \[6, 1\].*has \[5, 1\]"):
        other.load(path)
    assert bits(other) == before
    assert other.class_names is None


def test_the_file_is_readable_with_plain_numpy_and_without_pickle(model: CNN, path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        names = set(file.files)
        weight = file["conv1.weight"]
    assert names == {"record", *model.parameters()}
    assert weight.tobytes() == model.parameters()["conv1.weight"].tobytes()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFileError, match=r"model\.npz"):
        ferrocnn.load(path)


def test_a_flipped_bit_in_the_weights_is_found(path: Path, model: CNN) -> None:
    content = bytearray(path.read_bytes())
    weight = model.parameters()["dense1.weight"].tobytes()
    content[content.index(weight) + 17] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="CRC"):
        ferrocnn.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv1.bias": np.array([object()] * 4)}, "float32"),
        ({"conv1.bias": np.zeros(4)}, r"conv1\.bias: expected \(4,\) float32.*float64"),
        ({"conv1.bias": np.zeros(5, np.float32)}, r"conv1\.bias: expected \(4,\)"),
        ({"conv1.bias": np.full(4, np.nan, np.float32)}, r"conv1\.bias.*finite"),
        ({"conv1.bias": None}, "expected 6 arrays and record, got 6 entries"),
        ({"extra": np.zeros(1)}, "expected 6 arrays and record, got 8 entries"),
        ({"extra": np.zeros(1), "conv1.bias": None}, "expected the entries"),
        ({"conv1.bias": b"no array"}, "magic"),
        ({"conv1.bias": b"\x93NUMPY\x01\x00\x06\x00'''abc"}, "EOF"),
        ({"conv1.bias": np.zeros(1000, np.float32)}, r"conv1\.bias"),
        ({"record": np.array("[]")}, "format"),
        ({"record": np.array("{")}, "record|Expecting"),
        ({"record": np.array([{}], dtype=object)}, "allow_pickle"),
        ({"record": None}, "record"),
    ],
)
def test_foreign_members_are_refused(path: Path, changes: dict, message: str) -> None:
    rewrite(path, changes)
    with pytest.raises(ModelFileError, match=message):
        ferrocnn.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 3}, "upgrade ferrocnn"),
        ({"config": small_model().config() | {"input_shape": [0, 8, 3]}}, "input_shape"),
        ({"config": {"unknown": 1}}, "unknown"),
        ({"config": {}}, r"config: expected the keys .*'seed'\], got \[\]"),
        ({"format_version": 0}, "format_version"),
        ({"training": {"loss": float("nan")}}, "NaN"),
        ({"class_names": ["Cat", "Cat"]}, "class_names"),
        ({"class_names": ["Cat"]}, "class_names"),
        ({"preprocessing": {"image_size": [8, 8]}}, "preprocessing"),
        ({"preprocessing": Preprocessing(image_size=(9, 9)).to_dict()}, "image size"),
        ({"training": None}, "training"),
    ],
)
def test_foreign_records_are_refused(path: Path, changes: dict, message: str) -> None:
    change_record(path, **changes)
    with pytest.raises(ModelFileError, match=message):
        ferrocnn.load(path)


def test_a_header_that_claims_a_huge_array_takes_no_memory(path: Path) -> None:
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    rewrite(path, {"conv1.bias": buffer.getvalue()})
    with pytest.raises(ModelFileError, match=r"conv1\.bias"):
        ferrocnn.load(path)


def test_a_compressed_member_is_refused(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["conv1.bias.npy"] = bytes(100 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ModelFileError, match=r"record\.npy: expected.*not compressed"):
        ferrocnn.load(path)


def test_what_is_no_model_at_all(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 not a zip")
    with pytest.raises(ModelFileError, match="zip"):
        ferrocnn.load(path)
    with pytest.raises(FileNotFoundError):
        ferrocnn.load(tmp_path / "missing.npz")


def test_the_record_says_what_wrote_the_file(path: Path) -> None:
    file = read_model_file(path)
    assert file.version == ferrocnn.__version__
    assert file.config == small_model().config()


def test_a_config_that_asks_for_more_than_the_file_holds_takes_no_memory(path: Path) -> None:
    config = small_model().config() | {"fc_layers": [20_000_000, 1]}
    change_record(path, config=config)
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="config: expected weights that"):
            ferrocnn.load(path)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("shape", [(13, 10, 3), (12, 15, 1)])
def test_every_architecture_fits_into_its_own_file(
    tmp_path: Path, padding: str, shape: tuple[int, int, int]
) -> None:
    path = tmp_path / "model.npz"
    model = CNN(shape, [(3, 4), (2, 1)], [3, 2, 1], padding=padding, seed=1)
    model.save(path)
    assert bits(ferrocnn.load(path)) == bits(model)


def test_no_damaged_byte_raises_another_error_or_changes_a_model(path: Path, model: CNN) -> None:
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for place in generator.integers(0, len(content), 500):
        damaged = bytearray(content)
        damaged[place] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        try:
            loaded = ferrocnn.load(path)
        except ModelFileError:
            refused += 1
        else:  # a byte that says nothing about the content, such as a time
            assert bits(loaded) == bits(model)
            assert loaded.class_names == model.class_names
            assert loaded.training == model.training
    assert refused > 250
