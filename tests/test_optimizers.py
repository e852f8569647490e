"""Optimisers over several steps of several parameters, against the NumPy reference."""

import json
from collections.abc import Callable

import numpy as np
import pytest

import ferrocnn
import reference
from ferrocnn import SGD, Adam, AdamW, Lion, Momentum
from ferrocnn.optimizers import Optimizer, make_optimizer, optimizer_from_config

# The second is longer than one task. Only the first decays.
SHAPES = {"a.weight": (3, 5), "a.bias": (40_000,), "b.gamma": (4,), "b.beta": (4,)}
RULES: list[Callable[[], Optimizer]] = [
    lambda: SGD(0.1),
    lambda: SGD(0.1, weight_decay=0.5),
    lambda: Momentum(0.1),
    lambda: Momentum(0.1, nesterov=True, weight_decay=0.5),
    lambda: Adam(0.1),
    lambda: Adam(0.1, beta1=0.8, beta2=0.99, epsilon=1e-3, weight_decay=0.5),
    lambda: AdamW(0.1),
    lambda: Lion(0.1, weight_decay=0.5),
]


def drawn(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=s).astype(np.float32) for name, s in SHAPES.items()}


def reference_run(rule: Optimizer, rates: list[float]) -> dict[str, np.ndarray]:
    values = {name: value.astype(np.float64) for name, value in drawn(0).items()}
    first = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    second = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for step, rate in enumerate(rates, 1):
        for name, gradient in drawn(step).items():
            decay = rule.weight_decay if name == "a.weight" else 0
            match rule:
                case SGD():
                    values[name] = reference.sgd_update(values[name], gradient, rate, decay)
                case Momentum():
                    values[name], first[name] = reference.momentum_update(
                        values[name], gradient, first[name], rate, rule.momentum, rule.nesterov,
                        decay,
                    )  # fmt: skip
                case Adam():
                    values[name], first[name], second[name] = reference.adam_update(
                        values[name], gradient, first[name], second[name], step, rate, rule.beta1,
                        rule.beta2, rule.epsilon, decay,
                    )  # fmt: skip
                case Lion():
                    values[name], first[name] = reference.lion_update(
                        values[name], gradient, first[name], rate, rule.beta1, rule.beta2, decay
                    )
    return values


@pytest.mark.parametrize("rule", RULES)
def test_five_steps_at_changing_rates(rule: Callable[[], Optimizer]) -> None:
    optimizer, values = rule(), drawn(0)
    rates = [0.1, 0.1, 0.05, 0.02, 0.01]
    for step, rate in enumerate(rates, 1):
        optimizer.learning_rate = rate
        optimizer.step(values, drawn(step))
    for name, expected in reference_run(optimizer, rates).items():
        # Five updates of size below 1 to values below 10, each rounded a few times.
        np.testing.assert_allclose(values[name], expected, rtol=0, atol=5 * 8 * 10 * 2**-24)


def test_weights_alone_decay() -> None:
    values = {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()}
    zeros = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    for optimizer in (
        SGD(0.1, weight_decay=0.5),
        Momentum(0.1, weight_decay=0.5),
        AdamW(0.1, weight_decay=0.5),
        Lion(0.1, weight_decay=0.5),
    ):
        optimizer.step(values, zeros)
    np.testing.assert_allclose(values.pop("a.weight"), 0.95**4, rtol=1e-6)
    assert all((value == 1).all() for value in values.values())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [0, 3])
def test_a_state_goes_on_with_equal_bits(rule: Callable[[], Optimizer], steps: int) -> None:
    first, values = rule(), drawn(0)
    for step in range(1, steps + 1):
        first.step(values, drawn(step))
    resumed, copies = rule(), {name: value.copy() for name, value in values.items()}
    resumed.set_state(first.state(), copies)
    for step in range(steps + 1, steps + 4):
        first.step(values, drawn(step))
        resumed.step(copies, drawn(step))
    for name, value in values.items():
        assert value.tobytes() == copies[name].tobytes()
    for key, array in first.state().items():
        assert array.tobytes() == resumed.state()[key].tobytes()


def test_a_state_is_named_and_copied() -> None:
    parameters = drawn(0)
    assert SGD(0.1).state() == {}
    momentum, adam, lion = Momentum(0.1), Adam(0.1), Lion(0.1)
    for optimizer in (momentum, adam, lion):
        optimizer.step(parameters, drawn(1))
    assert list(momentum.state()) == [f"velocity/{name}" for name in SHAPES]
    assert list(lion.state()) == [f"moment/{name}" for name in SHAPES]
    moments = [f"{kind}/{name}" for kind in ("first_moment", "second_moment") for name in SHAPES]
    assert list(adam.state()) == ["steps", *moments]
    steps = adam.state()["steps"]
    assert (steps.dtype, steps.shape, steps) == (np.int64, (), 1)
    np.testing.assert_array_equal(momentum.state()["velocity/a.bias"], drawn(1)["a.bias"])
    given = momentum.state()
    momentum.set_state(given, parameters)
    for state in (given, momentum.state()):
        state["velocity/a.bias"][:] = 7
    np.testing.assert_array_equal(momentum.state()["velocity/a.bias"], drawn(1)["a.bias"])


NOT_STATES = {
    "unknown": ({"speed/a.weight": np.zeros((3, 5))}, r"state: expected first_moment/a.*'spe"),
    "of another model": ({"first_moment/c.weight": np.zeros(1)}, r"got 'first_moment/c.weight'"),
    "missing": ({"second_moment/b.beta": None}, r"expected second_moment/b.beta beside"),
    "shape": (
        {"first_moment/b.beta": np.zeros(5, np.float32)},
        r"\(4,\) for first_moment/b.beta, g",
    ),
    "dtype": (
        {"first_moment/b.beta": np.zeros(4)},
        r"float32 for first_moment/b.beta, got float64",
    ),
    "list": ({"first_moment/b.beta": [0.0]}, r"float32 for first_moment/b.beta, got list"),
    "nan": ({"first_moment/b.beta": np.full(4, np.nan, np.float32)}, r"finite values for first_m"),
    "no count": ({"steps": None}, r"state: expected steps, got first_moment/a.weight"),
    "float count": ({"steps": np.array(1.0)}, r"0-d int64 array for steps, got array\(1.\)"),
    "negative count": ({"steps": np.array(-1)}, r"at least 0 for steps, got -1"),
    "no steps": ({"steps": np.array(0)}, r"expected moments after 0 steps, got 8"),
}


@pytest.mark.parametrize("case", NOT_STATES)
def test_what_is_not_a_state_is_named_and_nothing_changes(case: str) -> None:
    changes, message = NOT_STATES[case]
    adam = Adam(0.1)
    adam.step(drawn(0), drawn(1))
    before = adam.state()
    state = {key: array for key, array in (before | changes).items() if array is not None}
    with pytest.raises((ValueError, TypeError), match=message):
        adam.set_state(state, drawn(0))
    for key, array in adam.state().items():
        assert array.tobytes() == before[key].tobytes()


def test_a_state_is_refused_where_nothing_is_kept() -> None:
    with pytest.raises(ValueError, match=r"state: expected no arrays, got 'velocity/a.weight'"):
        SGD(0.1).set_state({"velocity/a.weight": np.zeros(1, np.float32)}, drawn(0))
    with pytest.raises(ValueError, match="state: expected steps, got no arrays"):
        Adam(0.1).set_state({}, drawn(0))


@pytest.mark.parametrize("rule", RULES)
def test_a_config_makes_the_optimizer_again(rule: Callable[[], Optimizer]) -> None:
    optimizer = rule()
    optimizer.learning_rate = 0.001  # as a schedule does
    config = json.loads(json.dumps(optimizer.config()))
    assert config["name"] == optimizer.name
    assert config["learning_rate"] == 0.1
    made = optimizer_from_config(config)
    assert type(made) is type(optimizer)
    assert made.config() == optimizer.config()
    values, others = drawn(0), drawn(0)
    rule().step(values, drawn(1))
    made.step(others, drawn(1))
    assert all(values[name].tobytes() == others[name].tobytes() for name in SHAPES)


def test_a_config_that_cannot_be_used_is_named() -> None:
    for config, message in [
        ({"name": "sdg", "learning_rate": 1}, "optimizer: expected a name of sgd, mom.*got 'sdg'"),
        ({"learning_rate": 1}, "optimizer: expected a name of sgd, mom.*got None"),
        ({"name": "sgd"}, "optimizer: expected learning_rate for sgd, got no others"),
        (
            {"name": "sgd", "learning_rate": 1, "momentum": 0},
            "optimizer: expected the settings learning_rate, weight_decay of sgd, got 'momentum'",
        ),
        ({"name": "sgd", "learning_rate": -1}, "learning_rate: expected a finite number above 0"),
        ("sgd", "optimizer: expected a dictionary, got 'sgd'"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            optimizer_from_config(config)  # type: ignore[arg-type]


def test_names_and_instances() -> None:
    assert isinstance(make_optimizer("adam", 0.1), Adam)
    for name in ("sgd", "momentum", "nesterov", "adam", "adamw", "lion"):
        assert make_optimizer(name, 0.1).name == name
    assert make_optimizer("nesterov", 0.1).nesterov
    assert make_optimizer("adamw", 0.1).weight_decay == 0.01
    assert make_optimizer("adam", 0.1).weight_decay == 0
    own = Momentum(0.1, momentum=0.5)
    assert make_optimizer(own, 0.2) is own
    assert own.learning_rate == 0.1
    with pytest.raises(
        ValueError,
        match=r"optimizer: expected one of sgd, momentum, nesterov, adam, adamw, lion, or.*'sdg'",
    ):
        make_optimizer("sdg", 0.1)
    with pytest.raises(ValueError, match="learning_rate: expected a finite number above 0"):
        make_optimizer("sgd", -1)
    with pytest.raises(ValueError, match="momentum: expected at least 0 and below 1, got 1"):
        Momentum(0.1, momentum=1)
    with pytest.raises(ValueError, match=r"beta2: expected at least 0 and below 1, got 0.99999999"):
        Adam(0.1, beta2=0.999_999_99)  # 1, once it is float32
    with pytest.raises(ValueError, match="weight_decay: expected a finite number of at least 0"):
        AdamW(0.1, weight_decay=-0.1)


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
    assert model.training["optimizer"] == {"name": "signdescent", "learning_rate": 0.01}


def test_a_rule_of_ones_own_has_an_empty_state() -> None:
    rule = SignDescent(0.01)
    assert rule.state() == {}
    rule.set_state({}, drawn(0))
    with pytest.raises(ValueError, match="state: expected no arrays, got 'steps'"):
        rule.set_state({"steps": np.array(1)}, drawn(0))
    assert rule.config() == {"name": "signdescent", "learning_rate": 0.01}
