"""The losses as the model uses them: targets, the loss, its gradient, probabilities, labels."""

import numpy as np
import pytest

import reference
from ferrocnn import _kernels
from ferrocnn.losses import Loss, SigmoidCrossEntropy, SoftmaxCrossEntropy, make_loss
from ops_cases import normal

LABELS = {1: np.array([1, 0, 0, 1, 1]), 3: np.array([2, 0, 1, 2, 0])}


@pytest.fixture(params=[(1, 0.0), (1, 0.1), (3, 0.0), (3, 0.3)], ids=str)
def case(request: pytest.FixtureRequest) -> tuple[Loss, np.ndarray, np.ndarray]:
    """A loss, logits and labels."""
    units, smoothing = request.param
    return make_loss(units, smoothing), normal(0, (5, units))[0] * 3, LABELS[units]


def test_targets_by_hand() -> None:
    binary = SigmoidCrossEntropy(0.2).targets(LABELS[1])
    np.testing.assert_array_equal(binary, np.float32([[0.9], [0.1], [0.1], [0.9], [0.9]]))
    several = SoftmaxCrossEntropy(3, 0.3).targets(LABELS[3])
    np.testing.assert_array_equal(
        several,
        np.float32([[0.1, 0.1, 0.8], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]] * 2)[[0, 1, 2, 3, 1]],
    )
    assert binary.dtype == several.dtype == np.float32


def test_without_smoothing_targets_are_labels_and_one_hot_rows() -> None:
    np.testing.assert_array_equal(SigmoidCrossEntropy().targets(LABELS[1])[:, 0], LABELS[1])
    np.testing.assert_array_equal(SoftmaxCrossEntropy(3).targets(LABELS[3]), np.eye(3)[LABELS[3]])


@pytest.mark.parametrize("classes", [2, 3, 7, 1000])
def test_smoothed_rows_sum_to_one(classes: int) -> None:
    targets = SoftmaxCrossEntropy(classes, 0.1).targets(np.arange(classes))
    np.testing.assert_allclose(targets.sum(axis=1, dtype=np.float64), 1, atol=1e-6)
    assert (targets.argmax(axis=1) == np.arange(classes)).all()


@pytest.mark.parametrize("weights", [None, [0.5, 2, 0, 1, 3]], ids=["equal", "weighted"])
def test_loss_and_gradient_are_those_of_the_reference(
    case: tuple[Loss, np.ndarray, np.ndarray], weights: list[float] | None
) -> None:
    loss, logits, labels = case
    kind = "sigmoid" if logits.shape[1] == 1 else "softmax"
    truth = getattr(reference, f"{kind}_cross_entropy")
    truth_backward = getattr(reference, f"{kind}_cross_entropy_backward")
    w = None if weights is None else np.float32(weights)
    targets, out = loss.targets(labels), np.full_like(logits, 7)
    expected = truth(logits, targets, weights=w)
    assert loss.loss(logits, targets, w) == pytest.approx(expected, rel=1e-12)
    loss.gradient(logits, targets, out, w)
    expected = truth_backward(logits, targets, weights=w)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-7)


def test_a_batch_whose_weights_are_all_zero_teaches_nothing(
    case: tuple[Loss, np.ndarray, np.ndarray],
) -> None:
    loss, logits, labels = case
    targets, out, weights = loss.targets(labels), np.full_like(logits, 7), np.zeros(5, np.float32)
    assert loss.loss(logits, targets, weights) == 0
    loss.gradient(logits, targets, out, weights)
    assert not out.any()


def test_arrays_of_other_shapes_are_named(case: tuple[Loss, np.ndarray, np.ndarray]) -> None:
    loss, logits, labels = case
    targets, out = loss.targets(labels), np.full_like(logits, 7)
    with pytest.raises(ValueError, match=r"^targets: expected shape"):
        loss.loss(logits, targets[1:])
    with pytest.raises(ValueError, match=r"^targets: expected shape"):
        loss.gradient(logits, targets[1:], out)
    with pytest.raises(ValueError, match=r"^weights: expected shape \[5\], got \[4\]"):
        loss.loss(logits, targets, np.ones(4, np.float32))
    with pytest.raises(ValueError, match=r"^weights: expected shape \[5\], got \[4\]"):
        loss.gradient(logits, targets, out, np.ones(4, np.float32))
    with pytest.raises(ValueError, match=r"^dlogits: expected shape"):
        loss.gradient(logits, targets, out[1:])
    assert (out == 7).all()


def test_logits_without_classes_are_refused() -> None:
    loss, empty = SoftmaxCrossEntropy(2), np.empty((3, 0), np.float32)
    with pytest.raises(ValueError, match=r"^x: expected at least 1, got 0"):
        loss.probabilities(empty)
    with pytest.raises(ValueError, match=r"^logits: expected at least 1, got 0"):
        loss.loss(empty, empty)
    with pytest.raises(ValueError, match=r"^logits: expected at least 1, got 0"):
        loss.gradient(empty, empty, empty.copy())


def test_probabilities_and_labels() -> None:
    logits = np.float32([[-1], [0], [1], [3]])
    loss: Loss = SigmoidCrossEntropy()
    np.testing.assert_allclose(loss.probabilities(logits), reference.sigmoid(logits), rtol=1e-6)
    assert loss.labels(logits).tolist() == [0, 1, 1, 1]
    assert loss.labels(logits, threshold=0.8).tolist() == [0, 0, 0, 1]
    logits = np.float32([[0, 2, 1], [5, 5, -5], [-3, -2, -1]])
    loss = SoftmaxCrossEntropy(3)
    np.testing.assert_allclose(loss.probabilities(logits), reference.softmax(logits), rtol=1e-6)
    np.testing.assert_allclose(loss.probabilities(logits).sum(axis=1), 1, rtol=1e-6)
    assert loss.labels(logits, threshold=0.99).tolist() == [1, 0, 2]
    assert loss.labels(logits).dtype == np.int64
    assert logits.tolist() == [[0, 2, 1], [5, 5, -5], [-3, -2, -1]]


def test_one_unit_has_a_sigmoid_and_more_have_a_softmax() -> None:
    assert isinstance(make_loss(1, 0.25), SigmoidCrossEntropy)
    loss = make_loss(4, 0.25)
    assert isinstance(loss, SoftmaxCrossEntropy)
    assert (loss.classes, loss.label_smoothing) == (4, 0.25)
    assert make_loss(1).label_smoothing == make_loss(2).label_smoothing == 0


@pytest.mark.parametrize("smoothing", [-0.1, 1, 1.5, float("nan"), "0.1", None, True])
@pytest.mark.parametrize("units", [1, 2])
def test_a_smoothing_that_makes_no_sense(units: int, smoothing: float) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^label_smoothing: expected"):
        make_loss(units, smoothing)


def test_a_number_of_classes_that_makes_no_sense() -> None:
    for units in (0, -1, 1.5, True):
        with pytest.raises((ValueError, TypeError), match=r"^units: expected"):
            make_loss(units)  # type: ignore[arg-type]
    for classes in (1, 0, 2.0):
        with pytest.raises((ValueError, TypeError), match=r"^classes: expected"):
            SoftmaxCrossEntropy(classes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "units"), [(0, 1), (1, 1), (200, 1), (1, 2), (200, 3), (50, 100)]
)
def test_hits_are_what_numpy_counts(count: int, units: int) -> None:
    random = np.random.default_rng(0)
    logits = random.integers(-2, 3, (count, units)).astype(np.float32)  # with equals, and zeros
    targets = make_loss(units, 0.1).targets(random.integers(0, max(units, 2), count))
    if units == 1:
        expected = ((logits >= 0) == (targets >= 0.5)).sum()
    else:
        expected = (logits.argmax(axis=1) == targets.argmax(axis=1)).sum()
    assert _kernels.hits(logits, targets) == expected
    assert count < 200 or 0 < expected < count


def test_hits_of_arrays_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"^targets: expected shape \[2, 3\], got \[2, 4\]"):
        _kernels.hits(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))
