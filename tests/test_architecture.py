"""From the arguments of `CNN` to its layers: which are made, and what is said of bad ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferrocnn import CNN, Conv
from ferrocnn._kernels import ACTIVATIONS

SHAPE = (16, 16, 3)


def kinds(**arguments: object) -> list[tuple[str, str]]:
    chosen = {"input_shape": SHAPE, "conv_filters": [(4, 3)], "fc_layers": [5, 1]} | arguments
    return [(layer.name, layer.kind) for layer in CNN(**chosen).layers]


def test_what_the_kernels_do_in_one_pass_is_one_layer() -> None:
    dense = [("dense1", "dense -> ReLU"), ("dense2", "dense")]
    assert kinds() == [("conv1", "conv 3x3 same -> max pool 2x2 -> ReLU"), *dense]
    assert kinds(batch_norm=True) == [
        ("conv1", "conv 3x3 same -> max pool 2x2"),
        ("norm1", "batch norm -> ReLU"),
        *dense,
    ]


def test_everything_else_has_layers_of_its_own_in_order() -> None:
    blocks = [Conv(4, 3, "avg"), Conv(5, 2, None, stride=2, batch_norm=True), Conv(6, 3, stride=2)]
    assert kinds(
        conv_filters=blocks,
        activation="gelu",
        dropout=0.5,
        spatial_dropout=0.25,
        global_average_pool=True,
    ) == [
        ("conv1", "conv 3x3 same"),
        ("pool1", "average pool 2x2"),
        ("activation1", "GELU"),
        ("dropout1", "spatial dropout 0.25"),
        ("conv2", "conv 2x2 same, stride 2"),
        ("norm2", "batch norm -> GELU"),
        ("dropout2", "spatial dropout 0.25"),
        ("conv3", "conv 3x3 same, stride 2"),
        ("pool3", "max pool 2x2"),
        ("activation3", "GELU"),
        ("dropout3", "spatial dropout 0.25"),
        ("pool", "global average pool"),
        ("dense1.dropout", "dropout 0.5"),
        ("dense1", "dense"),
        ("dense1.activation", "GELU"),
        ("dense2.dropout", "dropout 0.5"),
        ("dense2", "dense"),
    ]


def test_the_identity_needs_no_layer() -> None:
    assert kinds(activation="identity") == [
        ("conv1", "conv 3x3 same -> max pool 2x2"),
        ("dense1", "dense"),
        ("dense2", "dense"),
    ]


def test_a_block_has_its_own_batch_norm_or_that_of_the_model() -> None:
    blocks = [(4, 3), Conv(4, 3, batch_norm=False), Conv(4, 3, batch_norm=True), Conv(4, 3)]

    def normed(batch_norm: bool) -> list[str]:
        model = CNN(SHAPE, blocks, [1], batch_norm=batch_norm)
        assert [name for name in model.parameters() if name.endswith("bias")] == [
            *(f"conv{k}.bias" for k in range(1, 5) if f"norm{k}.gamma" not in model.parameters()),
            "dense1.bias",
        ]
        return [name for name in model.parameters() if name.endswith("gamma")]

    assert normed(False) == ["norm3.gamma"]
    assert normed(True) == ["norm1.gamma", "norm3.gamma", "norm4.gamma"]


def test_config_builds_the_same_weights() -> None:
    model = CNN(
        SHAPE,
        [(4, 3), Conv(5, 2, None, 2, True)],
        [3, 2],
        "valid",
        activation="elu",
        batch_norm=True,
        dropout=0.5,
        spatial_dropout=0.1,
        global_average_pool=True,
        seed=4,
    )
    other = CNN(**model.config())
    assert other.architecture == model.architecture
    for name, value in model.state().items():
        np.testing.assert_array_equal(other.state()[name], value)


blocks = st.builds(
    Conv,
    st.integers(1, 9),
    st.integers(1, 5),
    st.sampled_from(["max", "avg", None]),
    st.integers(1, 3),
    st.sampled_from([None, True, False]),
)


@settings(deadline=None, max_examples=200)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 3)),
    st.lists(blocks | st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=3),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.sampled_from(["same", "valid"]),
    st.booleans(),
    st.booleans(),
)
def test_extent_counts_the_arrays_and_all_weights(
    shape: tuple[int, int, int],
    conv_filters: list[object],
    fc_layers: list[int],
    padding: str,
    batch_norm: bool,
    global_average_pool: bool,
) -> None:
    try:
        model = CNN(
            shape, conv_filters, fc_layers, padding, batch_norm=batch_norm,
            global_average_pool=global_average_pool,
        )  # fmt: skip
    except ValueError:  # blocks that do not fit
        return
    arrays, elements = model.architecture.extent()
    assert arrays == len(model.state())
    assert elements == sum(v.size for n, v in model.state().items() if n.endswith(".weight"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "conv_filters: filters: expected at least 1, got 0"),
        ({"filters": 2.0}, "conv_filters: filters: expected an integer, got 2.0"),
        ({"filters": 4, "size": -1}, "conv_filters: size: expected at least 1, got -1"),
        ({"filters": 4, "stride": True}, "conv_filters: stride: expected an integer, got True"),
        ({"filters": 4, "pool": "min"}, "conv_filters: expected pool .* or None, got 'min'"),
        ({"filters": 4, "pool": 2}, "conv_filters: expected pool .* or None, got 2"),
        ({"filters": 4, "batch_norm": 1}, "conv_filters: batch_norm: expected True or False"),
    ],
)
def test_blocks_that_make_no_sense(arguments: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        Conv(**arguments)
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        CNN(SHAPE, [arguments], [1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "swish"}, f"activation: expected one of {', '.join(ACTIVATIONS)}, got 'sw"),
        ({"activation": None}, f"activation: expected one of {', '.join(ACTIVATIONS)}, got None"),
        ({"batch_norm": 1}, "batch_norm: expected True or False, got 1"),
        ({"dropout": 1}, "dropout: expected at least 0 and below 1, got 1"),
        ({"dropout": -0.1}, "dropout: expected at least 0 and below 1, got -0.1"),
        ({"dropout": 0.999_999_999}, "dropout: expected at least 0 and below 1, got 0.999999999"),
        ({"dropout": None}, "dropout: expected a number, got None"),
        ({"spatial_dropout": float("nan")}, "spatial_dropout: expected at least 0 and below 1"),
        ({"global_average_pool": "yes"}, "global_average_pool: expected True or False, got 'yes'"),
        ({"conv_filters": []}, "conv_filters: expected at least one"),
        ({"conv_filters": [(4, 3, 2)]}, r"conv_filters: expected \(filters, kernel size\) or a Co"),
        ({"conv_filters": [4, 3]}, "conv_filters: expected a sequence, got 4"),
        ({"conv_filters": [{"filters": 4, "group": 1}]}, "conv_filters: .*size, pool, stride"),
        ({"conv_filters": {"filters": 4}}, "conv_filters: expected a sequence"),
        (
            {"conv_filters": [Conv(4, 3, stride=9), (4, 3)]},
            "conv_filters: expected blocks that fit",
        ),
        ({"conv_filters": [Conv(4, 17, None)], "padding": "valid"}, "conv_filters: .*block 1 with"),
        ({"fc_layers": []}, "fc_layers: expected the units of each dense layer"),
        ({"fc_layers": [5, 0]}, "fc_layers: expected at least 1, got 0"),
        ({"padding": "full"}, 'padding: expected "same" or "valid"'),
        ({"input_shape": (16, 16)}, "input_shape: expected .height, width, channels."),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict, message: str) -> None:
    chosen = {"input_shape": SHAPE, "conv_filters": [(4, 3)], "fc_layers": [5, 1]} | arguments
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        CNN(**chosen)


def test_labels_of_as_many_classes_as_units() -> None:
    X = np.zeros((4, *SHAPE), np.uint8)
    model = CNN(SHAPE, [(4, 3)], [3], seed=0)
    assert (model.classes, CNN(SHAPE, [(4, 3)], [1]).classes) == (3, 2)
    model.backward(X, [0, 1, 2, 0])
    model.backward(X, np.eye(3)[[0, 1, 2, 0]])
    for y in ([0, 1, 2, 3], [0, 1, 2, -1]):
        with pytest.raises(ValueError, match=r"^y: expected labels from 0 to 2"):
            model.gradients(X, y)
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (4, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.predict(X), probabilities.argmax(axis=1))
