"""Labels, class weights and sample weights: what is accepted, and what is said of the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from ferrocnn.labels import check_class_weight, check_classes, check_sample_weight

NAMES = ("cat", "dog", "owl")


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32", "float32", "float64", ">i2"])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_numbers_are_accepted_in_any_type(dtype: str, shape: tuple[int, ...]) -> None:
    y = np.array([2, 0, 1, 2], dtype).reshape(shape)
    labels = check_classes(y, 4, 3)
    assert labels.tolist() == [2, 0, 1, 2]
    assert labels.dtype == np.int64


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32", "bool"])
@pytest.mark.parametrize("classes", [2, 3])
def test_one_hot_rows_are_accepted(dtype: str, classes: int) -> None:
    expected = np.array([1, 0, 1, classes - 1, 0])
    labels = check_classes(np.eye(classes, dtype=dtype)[expected], 5, classes)
    assert labels.tolist() == expected.tolist()
    assert labels.dtype == np.int64


def test_lists_and_bools_are_accepted() -> None:
    assert check_classes([True, False], 2, 2).tolist() == [1, 0]
    assert check_classes([[1], [0]], 2, 2).tolist() == [1, 0]
    # Two images of two classes: a square is one-hot.
    assert check_classes([[0, 1], [1, 0]], 2, 2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("y", "says"),
    [
        ([0, 1, 3], "y: expected labels from 0 to 2, as there are 3 classes, got 3; number"),
        ([1, 2, -1], "y: expected labels from 0 to 2, as there are 3 classes, got -1; number"),
        ([0, 1, np.inf], "y: expected labels from 0 to 2, as there are 3 classes, got inf"),
        (np.array([0, 1, 2**64 - 1], np.uint64), "from 0 to 2.* got 18446744073709551615"),
        ([0, 1, 1.5], "y: expected whole numbers, got 1.5"),
        ([0, 1, np.nan], "y: expected whole numbers, got nan"),
        ([0, 1], r"y: expected \(3,\), \(3, 1\) or one-hot \(3, 3\), got \(2,\)"),
        (
            [[0, 1]] * 3,
            r"y: .* one-hot \(3, 3\), got \(3, 2\); one-hot rows of 2 want fc_layers that end",
        ),
        (1, r"y: expected \(3,\), \(3, 1\) or one-hot \(3, 3\), got \(\)"),
        ([], r"y: expected \(3,\), \(3, 1\) or one-hot \(3, 3\), got \(0,\)"),
        ([[0, 1, 0], [0, 0, 0], [1, 0, 0]], r"y: expected one-hot.* got \[0 0 0\] in row 1"),
        ([[0, 1, 0], [0, 1, 0], [1, 0, 1]], r"y: expected one-hot.* got \[1 0 1\] in row 2"),
        ([[0, 2, 0], [0, 1, 0], [1, 0, 1]], r"y: expected one-hot.* got \[0 2 0\] in row 0"),
        ([[0.5, 0.5, 0]] * 3, r"y: expected one-hot.* got \[0.5 0.5 0. \] in row 0"),
        ([[np.inf, -np.inf, 1]] * 3, r"y: expected one-hot.* in row 0"),
        ([[np.nan, 0, 1]] * 3, r"y: expected one-hot.* in row 0"),
        ([[1], [2, 3], []], "y: expected an array"),
    ],
)
def test_labels_that_cannot_be_used(y: object, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}" if says.startswith("y") else says):
        check_classes(y, 3, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("y", [["cat", "dog", "owl"], [None] * 3, [1j, 0, 1], [0, 1, 2**70]])
def test_labels_that_are_no_numbers(y: list[object]) -> None:
    with pytest.raises(TypeError, match=r"^labels: expected integers from 0 to 2 or one-hot"):
        check_classes(y, 3, 3, "labels")  # type: ignore[arg-type]


def test_no_class_weight_is_one_each() -> None:
    weights = check_class_weight(None, np.array([0, 0]), NAMES)
    assert weights.tolist() == [1, 1, 1]
    assert weights.dtype == np.float32


@given(st.lists(st.integers(0, 2), max_size=50))
def test_balanced_weights_are_those_of_scikit_learn(more: list[int]) -> None:
    labels = np.array([0, 1, 2, *more])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    weights = check_class_weight("balanced", labels, NAMES)
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, expected.astype(np.float32))


@pytest.mark.parametrize(
    "weight",
    [
        {"dog": 2.5, 2: 3},
        {np.int64(1): np.float32(2.5), "owl": 3},
        [1, 2.5, 3],
        (1.0, 2.5, 3.0),
        np.array([1, 2.5, 3]),
    ],
)
def test_class_weights_by_name_label_and_place(weight: object) -> None:
    weights = check_class_weight(weight, np.array([0]), NAMES)  # type: ignore[arg-type]
    assert weights.tolist() == [1, 2.5, 3]
    assert weights.dtype == np.float32


@pytest.mark.parametrize(
    ("weight", "says"),
    [
        ("equal", "expected None, 'balanced', a mapping or 3 numbers, got 'equal'"),
        (3.0, "expected None, 'balanced', a mapping or 3 numbers, got float"),
        ({"cow": 1}, "expected labels from 0 to 2 or the classes cat, dog, owl, got 'cow'"),
        ({3: 1}, "expected labels from 0 to 2 or the classes cat, dog, owl, got 3"),
        ({-1: 1}, "expected labels from 0 to 2 or the classes cat, dog, owl, got -1"),
        ({True: 1}, "expected labels from 0 to 2 or the classes cat, dog, owl, got True"),
        ({1.0: 1}, "expected labels from 0 to 2 or the classes cat, dog, owl, got 1.0"),
        ({"dog": 1, 1: 2}, "expected one weight a class, got two for 1"),
        ({"dog": 0}, "expected a finite number above 0, got 0"),
        ({"dog": "2"}, "expected a number, got '2'"),
        ([1, 2], r"expected \(3,\) numbers, got \(2,\)"),
        ([[1], [2], [3]], r"expected \(3,\) numbers, got \(3, 1\)"),
        ([1, 2, -3], "expected a finite number above 0, got -3"),
        ([1, 2, float("nan")], "expected a finite number above 0, got nan"),
        ([1, 2, float("inf")], "expected a finite number above 0, got inf"),
        ([1, 2, 1e39], "expected a finite number above 0, got 1e.39"),
        ([1, 2, None], "expected a number, got None"),
    ],
)
def test_class_weights_that_cannot_be_used(weight: object, says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^class_weight: {says}"):
        check_class_weight(weight, np.array([0, 1, 2]), NAMES)  # type: ignore[arg-type]


def test_balanced_weights_need_an_image_of_every_class() -> None:
    with pytest.raises(ValueError, match=r"^class_weight: .*'balanced', got none of cat, owl;"):
        check_class_weight("balanced", np.array([1, 1]), NAMES)


@pytest.mark.parametrize("w", [[0, 2, 0.5], np.array([0, 2, 0.5], ">f8"), (0, 2, 0.5)])
def test_sample_weights_are_float32(w: object) -> None:
    weights = check_sample_weight(w, 3)  # type: ignore[arg-type]
    assert weights.tolist() == [0, 2, 0.5]
    assert weights.dtype == np.float32
    assert weights.dtype.isnative
    assert check_sample_weight([True, False], 2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("w", "says"),
    [
        ([1, 2], r"expected \(3,\), one for each image, got \(2,\)"),
        ([[1], [2], [3]], r"expected \(3,\), one for each image, got \(3, 1\)"),
        ([1, -2, 3], "expected finite numbers of at least 0, got -2"),
        ([1, float("nan"), 3], "expected finite numbers of at least 0, got nan"),
        ([1, float("inf"), 3], "expected finite numbers of at least 0, got inf"),
        ([1, 1e39, 3], "expected finite numbers of at least 0, got 1e.39"),
        ([0, 0, 0], "expected a weight above 0, got zeros alone"),
        ([1e-60, 0, 0], "expected a weight above 0, got zeros alone"),
        (["1", "2", "3"], "expected numbers, got <U1"),
        (None, "expected numbers, got object"),
    ],
)
def test_sample_weights_that_cannot_be_used(w: object, says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^sample_weight: {says}"):
        check_sample_weight(w, 3)  # type: ignore[arg-type]
