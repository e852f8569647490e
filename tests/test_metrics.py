"""Evaluation against counts and logarithms done here, and against scikit-learn."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

import reference
from ferrocnn import CNN, evaluate
from ferrocnn.metrics import judge, report

SHAPE = (6, 6, 1)


@pytest.fixture
def model() -> CNN:
    return CNN(SHAPE, [(3, 3)], [4, 1], seed=3)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((150, *SHAPE), dtype=np.float32) * 3


def test_counts_and_loss_are_those_of_the_probabilities(model: CNN, images: np.ndarray) -> None:
    y = np.random.default_rng(1).integers(0, 2, len(images))
    p = model.forward(images)[:, 0].astype(np.float64)
    threshold = float(np.median(p))
    result = evaluate(model, images, y, threshold=threshold)
    predicted = p >= threshold
    expected = [[int(((y == t) & (predicted == q)).sum()) for q in (0, 1)] for t in (0, 1)]
    assert result.confusion.tolist() == expected
    assert result.count == 150
    assert result.accuracy == (expected[0][0] + expected[1][1]) / 150
    loss = -np.mean(np.where(y == 1, np.log(p), np.log1p(-p)))
    assert result.loss == pytest.approx(loss, rel=1e-5)
    assert result.to_dict()["confusion"] == expected
    for same in (y.astype(np.float32), y[:, None], np.eye(2)[y]):
        assert evaluate(model, images, same, threshold=threshold).to_dict() == result.to_dict()


def test_bad_arguments_are_named(model: CNN, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"y: expected \(150,\)"):
        evaluate(model, images, np.zeros(3))
    with pytest.raises(ValueError, match=r"y: expected labels from 0 to 1, .* got 2"):
        evaluate(model, images, np.full(150, 2))
    with pytest.raises(ValueError, match="threshold"):
        evaluate(model, images, np.zeros(150), threshold=2)


# Labels 0 0 0 1 1 and probabilities of 1 below, at and above a half; 0.0 comes in both classes.
BINARY = np.float32([[-2], [0], [1], [0], [3]]), np.array([0, 0, 0, 1, 1])


def test_two_classes_by_hand() -> None:
    result = judge(*BINARY)
    assert result.confusion.tolist() == [[1, 2], [0, 2]]
    assert result.accuracy == 3 / 5
    assert result.balanced_accuracy == pytest.approx((1 / 3 + 1) / 2)
    assert result.precision.tolist() == [1, 0.5]
    assert result.recall.tolist() == [1 / 3, 1]
    assert result.support.tolist() == [3, 2]
    assert result.f1 == pytest.approx(2 * 0.5 * 1 / 1.5)
    # Of the six pairs, 0.0 beats -2, ties with 0.0 and loses to 1; 3 beats all.
    assert result.auc == 4.5 / 6
    assert judge(*BINARY, threshold=0.9).confusion.tolist() == [[3, 0], [1, 1]]


def test_three_classes_by_hand() -> None:
    logits = np.log(np.float32([[6, 3, 1], [1, 8, 1], [2, 5, 3], [5, 1, 4], [1, 2, 7]]))
    result = judge(logits, np.array([0, 1, 1, 2, 2]))
    assert result.confusion.tolist() == [[1, 0, 0], [0, 2, 0], [1, 0, 1]]
    assert result.loss == pytest.approx(-np.log([0.6, 0.8, 0.5, 0.4, 0.7]).mean(), rel=1e-6)
    assert result.accuracy == 4 / 5
    assert result.balanced_accuracy == pytest.approx((1 + 1 + 1 / 2) / 3)
    assert result.f1 == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert result.auc == 1
    assert judge(logits, np.array([0, 1, 1, 2, 2]), threshold=0.99).accuracy == result.accuracy


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 5), st.integers(1, 60), st.sampled_from([1, 10]), st.integers(0, 2**32 - 1))
def test_metrics_are_those_of_scikit_learn(units: int, more: int, parts: int, seed: int) -> None:
    """With all classes present; in steps of one or a tenth, so that many scores tie."""
    rng, classes = np.random.default_rng(seed), max(units, 2)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, more)])
    logits = (np.round(rng.normal(0, 2, (len(y), units)) * parts) / parts).astype(np.float32)
    result = judge(logits, y)
    # Rounded as the model's own: float64 probabilities tie a little less often.
    if units == 1:
        scores, predicted = np.float32(reference.sigmoid(logits))[:, 0], (logits >= 0)[:, 0]
    else:
        scores, predicted = np.float32(reference.softmax(logits)), logits.argmax(axis=1)
    if classes == 2:
        auc = sklearn.roc_auc_score(y, scores if units == 1 else scores[:, 1])
        f1 = sklearn.f1_score(y, predicted, zero_division=0)
    else:
        auc = sklearn.roc_auc_score(y, scores, multi_class="ovr")
        f1 = sklearn.f1_score(y, predicted, average="macro", zero_division=0)
    precision, recall, _, support = sklearn.precision_recall_fscore_support(
        y, predicted, labels=range(classes), zero_division=0
    )
    assert result.confusion.tolist() == sklearn.confusion_matrix(y, predicted).tolist()
    assert result.accuracy == pytest.approx(sklearn.accuracy_score(y, predicted))
    expected = sklearn.balanced_accuracy_score(y, predicted)
    assert result.balanced_accuracy == pytest.approx(expected)
    assert result.f1 == pytest.approx(f1)
    assert result.auc == pytest.approx(auc)
    np.testing.assert_allclose(result.precision, precision)
    np.testing.assert_allclose(result.recall, recall)
    assert result.support.tolist() == support.tolist()


@pytest.mark.parametrize("units", [1, 2, 4])
def test_classes_without_images(units: int) -> None:
    logits = np.random.default_rng(0).normal(size=(30, units)).astype(np.float32)
    result = judge(logits, np.zeros(30, np.float32))
    assert math.isnan(result.auc)
    assert result.support.tolist() == [30] + [0] * (max(units, 2) - 1)
    assert result.recall[1:].tolist() == result.precision[1:].tolist() == [0] * max(units - 1, 1)
    assert 0 < result.balanced_accuracy == result.recall[0] == result.accuracy < 1
    # Of two classes F1 is that of label 1; of more, the mean over all, present or not.
    of_first = 2 * result.accuracy / (1 + result.accuracy)
    assert result.f1 == pytest.approx(of_first / units if units > 2 else 0)
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert record["auc"] is None
    assert record["support"] == result.support.tolist()


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    result = judge(np.float32([[1], [2], [3]]), np.array([0, 1, 1]))
    assert result.precision.tolist() == [0, 2 / 3]
    assert result.recall.tolist() == [0, 1]
    assert result.auc == 1


@pytest.mark.parametrize("units", [1, 3])
def test_nan_logits_are_judged(units: int) -> None:
    logits = np.zeros((4, units), np.float32)
    logits[1, 0] = np.nan
    result = judge(logits, np.arange(4) % max(units, 2))
    assert math.isnan(result.loss)
    assert math.isnan(result.auc)
    assert result.to_dict()["loss"] is result.to_dict()["auc"] is None


def test_the_record_holds_all_and_fits_json(model: CNN, images: np.ndarray) -> None:
    result = evaluate(model, images, np.arange(150) % 2)
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert list(record) == [
        *("count", "loss", "accuracy", "balanced_accuracy", "f1", "auc", "confusion"),
        *("precision", "recall", "support"),
    ]
    for name, value in record.items():
        np.testing.assert_array_equal(value, getattr(result, name))


def test_report_by_hand() -> None:
    logits = np.float32([[1, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert report(judge(logits, np.array([0, 1, 1])), ["cat", "guinea pig", "owl"]) == (
        "class       precision  recall      F1  images\n"
        "cat            0.5000  1.0000  0.6667       1\n"
        "guinea pig     1.0000  0.5000  0.6667       2\n"
        "owl            0.0000  0.0000  0.0000       0"
    )


@pytest.mark.parametrize("names", [["cat"], ["cat", "dog", "owl"], "ab"])
def test_report_needs_a_name_for_each_class(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^class_names: expected 2 names, got"):
        report(judge(*BINARY), names)
