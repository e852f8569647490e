"""Averaged weights against the sum that they stand for, and their state."""

import numpy as np
import pytest

from ferrocnn import AveragedWeights

SHAPES = {"conv1.weight": (3, 3, 2, 4), "norm1.mean": (4,), "large": (40_000,)}


def drawn(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=s).astype(np.float32) for name, s in SHAPES.items()}


def averaged(decay: float, updates: int) -> AveragedWeights:
    averages = AveragedWeights(decay)
    for seed in range(updates):
        averages.update(drawn(seed))
    return averages


def weights(decay: float, updates: int) -> np.ndarray:
    """The share of each update in the average."""
    decays = [min(decay, (1 + t) / (10 + t)) for t in range(updates)]
    decays[0] = 0
    return np.array([(1 - decays[t]) * np.prod(decays[t + 1 :]) for t in range(updates)])


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("updates", [1, 2, 30])
def test_the_average_is_the_weighted_sum_of_all_values(decay: float, updates: int) -> None:
    shares = weights(decay, updates)
    assert abs(shares.sum() - 1) < 1e-12
    for name, average in averaged(decay, updates).values().items():
        expected = sum(w * drawn(t)[name].astype(np.float64) for t, w in enumerate(shares))
        # Each update rounds three times, and what it rounds is below 10.
        np.testing.assert_allclose(average, expected, rtol=0, atol=updates * 3 * 10 * 2**-24)


def test_the_first_values_are_soon_forgotten() -> None:
    averages = AveragedWeights(0.999)
    averages.update({"w": np.full(3, 1000, np.float32)})
    for _ in range(30):
        averages.update({"w": np.ones(3, np.float32)})
    # With 0.999 from the start nearly all of the 1000 would be left.
    assert (averages.values()["w"] < 1.001).all()


def test_values_are_copies_and_what_is_given_is_kept() -> None:
    given = drawn(0)
    averages = AveragedWeights()
    assert averages.values() == {}
    averages.update(given)
    bits = given["large"].tobytes()
    averages.values()["large"][:] = 7
    averages.state()["average/large"][:] = 7
    averages.update(drawn(1))
    assert given["large"].tobytes() == bits
    assert averages.values()["large"].tobytes() == averaged(0.999, 2).values()["large"].tobytes()


@pytest.mark.parametrize("updates", [0, 1, 5])
def test_a_state_goes_on_with_equal_bits(updates: int) -> None:
    averages, resumed = averaged(0.9, updates), AveragedWeights(0.9)
    resumed.set_state(averages.state(), drawn(0))
    for seed in range(10, 13):
        averages.update(drawn(seed))
        resumed.update(drawn(seed))
    state = resumed.state()
    assert (state["updates"].dtype, state["updates"]) == (np.int64, updates + 3)
    for key, array in averages.state().items():
        assert array.tobytes() == state[key].tobytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"updates": None}, "state: expected updates, got average/conv1.weight"),
        ({"updates": np.array(0)}, "state: expected averages after 0 updates, got 3"),
        ({"average/large": None}, "state: expected average/large beside average/conv1.weight"),
        ({"average/new": np.zeros(1, np.float32)}, "state: expected average/.*got 'average/new'"),
        ({"average/large": np.zeros(3, np.float32)}, r"shape \(40000,\) for average/large, got"),
    ],
)
def test_what_is_not_a_state_is_named_and_nothing_changes(
    changes: dict[str, np.ndarray | None], message: str
) -> None:
    averages = averaged(0.9, 2)
    before = averages.state()
    state = {key: array for key, array in (before | changes).items() if array is not None}
    with pytest.raises((ValueError, TypeError), match=message):
        averages.set_state(state, drawn(0))
    for key, array in averages.state().items():
        assert array.tobytes() == before[key].tobytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"large": None}, "parameters: expected large as in earlier updates, got none"),
        ({"new": np.zeros(1, np.float32)}, "parameters: expected conv1.*large, got new"),
        ({"large": np.zeros(3, np.float32)}, r"expected shape \(40000,\) for large, got \(3,\)"),
        ({"large": np.zeros(40_000)}, "parameters: expected float32 for large, got float64"),
        ({"large": [0.0]}, "parameters: expected float32 for large, got list"),
        ({"large": np.zeros(80_000, np.float32)[::2]}, "a C-contiguous array for large"),
    ],
)
def test_what_cannot_be_averaged_is_named_and_nothing_changes(
    changes: dict[str, np.ndarray | None], message: str
) -> None:
    averages = averaged(0.9, 2)
    before = averages.state()
    given = {key: array for key, array in (drawn(2) | changes).items() if array is not None}
    with pytest.raises((ValueError, TypeError), match=message):
        averages.update(given)
    for key, array in averages.state().items():
        assert array.tobytes() == before[key].tobytes()


def test_a_decay_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="decay: expected at least 0 and below 1, got 1"):
        AveragedWeights(1)
