"""Optimisers over several steps of several parameters, against the NumPy reference."""

import numpy as np
import pytest

import ferrocnn
import reference
from ferrocnn import SGD, Adam, Momentum
from ferrocnn.optimizers import Optimizer, make_optimizer

SHAPES = {"a": (3, 5), "b": (40_000,)}  # the second is longer than one task


def drawn(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=s).astype(np.float32) for name, s in SHAPES.items()}


def reference_run(rule: str, steps: int) -> dict[str, np.ndarray]:
    values = {name: value.astype(np.float64) for name, value in drawn(0).items()}
    first = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    second = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for step in range(1, steps + 1):
        for name, gradient in drawn(step).items():
            gradient = gradient.astype(np.float64)
            match rule:
                case "sgd":
                    out = reference.sgd_update(values[name], gradient, 0.1)
                    values[name] = out
                case "momentum":
                    values[name], first[name] = reference.momentum_update(
                        values[name], gradient, first[name], 0.1, 0.9
                    )
                case "adam":
                    values[name], first[name], second[name] = reference.adam_update(
                        values[name], gradient, first[name], second[name], step, 0.1, 0.9, 0.999,
                        1e-8,
                    )  # fmt: skip
    return values


@pytest.mark.parametrize("optimizer", [SGD(0.1), Momentum(0.1), Adam(0.1)], ids=lambda o: o.name)
def test_five_steps(optimizer: Optimizer) -> None:
    values = drawn(0)
    for step in range(1, 6):
        optimizer.step(values, drawn(step))
    for name, expected in reference_run(optimizer.name, 5).items():
        # Five updates of size below 1 to values below 10, each rounded a few times.
        np.testing.assert_allclose(values[name], expected, rtol=0, atol=5 * 8 * 10 * 2**-24)


def test_names_and_instances() -> None:
    assert isinstance(make_optimizer("adam", 0.1), Adam)
    own = Momentum(0.1, momentum=0.5)
    assert make_optimizer(own, 0.2) is own
    assert own.learning_rate == 0.1
    with pytest.raises(ValueError, match=r"optimizer: expected one of sgd, momentum, adam.*'sdg'"):
        make_optimizer("sdg", 0.1)
    with pytest.raises(ValueError, match="learning_rate: expected a finite number above 0"):
        make_optimizer("sgd", -1)
    with pytest.raises(ValueError, match="momentum: expected at least 0 and below 1, got 1"):
        Momentum(0.1, momentum=1)


class SignDescent(ferrocnn.Optimizer):
    def step(self, parameters, gradients):
        for name, parameter in parameters.items():
            parameter -= self.learning_rate * np.sign(ferrocnn.as_array(gradients[name]))


def test_a_rule_of_ones_own_trains_and_is_recorded() -> None:
    random = np.random.default_rng(0)
    X, y = random.integers(0, 256, (9, 12, 10, 3), dtype=np.uint8), np.arange(9) % 2
    model = ferrocnn.CNN((12, 10, 3), [(4, 3)], [5, 1], seed=0)
    expected = model.snapshot()
    _, gradients = model.gradients(X, y)
    rule = SignDescent(0.01)
    ferrocnn.train(model, X, y, epochs=1, optimizer=rule, shuffle=False, progress=False)
    for name, value in model.parameters().items():
        step = np.float32(0.01) * np.sign(gradients[name])
        np.testing.assert_array_equal(value, expected[name] - step)
    assert model.training["optimizer"] == "signdescent"
