"""What a run does not go on with: other settings or data, a damaged state."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ferrocnn
from ferrocnn import CNN, Augment, Run
from run_cases import EPOCHS, data, fit, make_model, outcome, weights

CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 9}, r"resume: .*epochs 9 \(the run has 4\).*learning rate of every step"),
    ({"batch_size": 8}, r"resume: .*batch_size 8 \(the run has 16\)"),
    ({"seed": 4}, r"resume: .*seed 4 \(the run has 3\)"),
    ({"optimizer": "adam"}, r"resume: .*optimizer .*adam.*sgd"),
    ({"augment": Augment(flip=True)}, r"resume: .*augment .*None"),
    ({"average": 0.5, "clip_norm": 2.0}, r"resume: .*clip_norm 2.0.*average 0.5"),
    ({"validation_data": data(21, seed=1)}, r"resume: .*validation_images 21 \(the run has 20\)"),
    ({"validation_data": None}, r"resume: .*validation"),
    ({"validation_data": data(20, seed=2)}, r"resume: .*images, labels.*same number and size"),
    ({"sample_weight": np.arange(40)}, r"resume: .*images, labels and weights"),
]


@pytest.mark.parametrize(("changes", "message"), CHANGES, ids=[str(c) for c in range(len(CHANGES))])
def test_what_differs_from_the_run_is_named(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    fit("sgd", tmp_path / "run", epochs=EPOCHS)
    before = outcome(tmp_path / "run")
    model = make_model("sgd", seed=6)
    own = weights(model)
    with pytest.raises(ValueError, match=message):
        fit("sgd", tmp_path / "run", model, **changes)
    assert weights(model) == own
    assert outcome(tmp_path / "run") == before


def test_another_architecture_is_named(tmp_path: Path) -> None:
    fit("sgd", tmp_path / "run")
    model = CNN((8, 8, 3), [(4, 3)], [5, 1], seed=0)
    with pytest.raises(ValueError, match=r"resume: .*conv_filters"):
        fit("sgd", tmp_path / "run", model)


def test_without_a_seed_the_run_has_its_own(tmp_path: Path) -> None:
    model, _ = fit("sgd", tmp_path / "a", seed=None)
    seed = Run(tmp_path / "a").settings()["train"]["seed"]
    fit("sgd", tmp_path / "a", seed=None)
    same, _ = fit("sgd", tmp_path / "b", seed=seed)
    assert weights(model) == weights(same)


def test_damaged_state_is_named_and_changes_nothing(tmp_path: Path) -> None:
    fit("sgd", tmp_path / "run")
    path = tmp_path / "run" / "state.npz"
    with np.load(path) as state:
        arrays = dict(state)
    del arrays["model/dense2.bias"]
    np.savez(path, **arrays)
    for _ in range(2):
        model = make_model("sgd", seed=7)
        before = weights(model)
        with pytest.raises(ValueError, match=r"state\.npz: expected the state of a run.*new run"):
            fit("sgd", tmp_path / "run", model)
        assert weights(model) == before
        path.write_bytes(b"PK\x03\x04 and nonsense")


def test_without_a_state_the_best_model_is_named(tmp_path: Path) -> None:
    fit("sgd", tmp_path / "run")
    best, state = tmp_path / "run" / "best.npz", tmp_path / "run" / "state.npz"
    state.write_bytes(b"PK\x03\x04 and nonsense")
    for error in (ValueError, FileNotFoundError):
        with pytest.raises(error, match=rf"state\.npz: .*{re.escape(str(best))} can be .*new run"):
            fit("sgd", tmp_path / "run")
        ferrocnn.load(best)
        state.unlink(missing_ok=True)
    best.unlink()
    with pytest.raises(FileNotFoundError, match=r"no such file; begin a new run"):
        fit("sgd", tmp_path / "run")


@pytest.mark.parametrize("key", ["average/updates", "average/average/dense2.bias", "position"])
def test_damage_of_any_part_leaves_all_of_them(key: str, tmp_path: Path) -> None:
    case, run = "adamw, average, batch norm, dropout", tmp_path / "run"
    fit(case, run)
    with np.load(run / "state.npz") as state:
        arrays = dict(state)
    position = json.loads(str(arrays["position"]))
    position["history"]["val_accuracy"].clear()
    damaged = {"position": np.array(json.dumps(position))}
    np.savez(run / "state.npz", **arrays | {key: damaged.get(key, np.array(-1))})
    model, optimizer = make_model(case, seed=7), ferrocnn.AdamW(0.02)
    before = weights(model)
    with pytest.raises(ValueError, match=r"state\.npz: expected the state of a run"):
        fit(case, run, model, optimizer=optimizer)
    assert weights(model) == before
    assert model.training == {}
    assert optimizer.learning_rate == 0.02
    assert {name: value.tolist() for name, value in optimizer.state().items()} == {"steps": 0}
