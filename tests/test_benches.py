"""The arithmetic of the benchmarks' report; what they measure is not for tests."""

import pytest

from benches import networks, report, targets


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (networks.REFERENCE, 20_865_216),
        (networks.DEEP, 46_793_088),
        (networks.WIDE, 180_093_696),
    ],
)
def test_multiply_adds_of_a_training_step(network, expected):
    assert network.training_multiply_adds == expected


def test_dense_limit_counts_two_operations_a_multiply_add():
    assert targets.dense_limit(gflops=200, multiply_adds=20_000_000) == pytest.approx(5000)


@pytest.mark.parametrize(
    ("ratios", "at_least", "met"),
    [([1, 2, 9], True, True), ([1, 1, 9], True, False), ([1, 1, 9], False, True)],
)
def test_the_median_of_the_rounds_is_judged(ratios, at_least, met):
    assert targets.Target("speed", ratios, 2, at_least).met is met


def test_table_lines_up():
    assert report.table(("", "images/s"), [("ferrocnn", "9,600"), ("im2col", 70)]) == (
        "|          | images/s |\n"
        "| -------- | -------: |\n"
        "| ferrocnn |    9,600 |\n"
        "| im2col   |       70 |"
    )


def test_augmentation_is_judged_by_the_step_without_it_in_the_same_round():
    steps = {"deep": {"none": [0.001, 0.002, 0.004], "flip": [0.002, 0.002, 0.005]}}
    assert report.augmentation_table(steps).splitlines()[2:] == [
        "| deep    |         none |      2.00 |       1.00 x |",
        "| deep    |         flip |      2.00 |       1.25 x |",
    ]


def test_layers_without_multiply_adds_have_no_share_of_the_peak():
    times = {"conv1": (1e-3, 2e-3), "norm1": (3e-6, 4e-6)}
    layers = {
        "machine": [{"fma_gflops": 1.0}],
        "networks": {network.name: [times] for network in networks.NETWORKS},
    }
    row = report.layer_table(layers).splitlines()[3]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "reference",
        "norm1",
        "3.0",
        "",
        "4.0",
        "",
    ]
