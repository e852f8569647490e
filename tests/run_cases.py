"""Runs for the tests of runs and of resuming: data, settings, and what two runs are compared by."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

import ferrocnn
from ferrocnn import CNN, Augment, Conv, History

SHAPE = (8, 8, 3)
EPOCHS = 4
BATCHES = 3  # an epoch's: of 16, 16 and 8 images
RECORD_NAMES = ("class_names", "preprocessing", "training", "flip_average", "config")


def data(count: int = 40, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images whose brightness tells the label, not too plainly."""
    generator = np.random.default_rng(seed)
    y = np.arange(count) % classes
    X = generator.integers(0, 200, (count, *SHAPE)) + (50 * y // (classes - 1))[:, None, None, None]
    return X.astype(np.uint8), y


CASES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum, one-cycle, augmented": {
        "optimizer": "momentum",
        "schedule": "one-cycle",
        "augment": Augment(flip=True, shift=2, crop=0.6, mixup=0.4),
        "label_smoothing": 0.1,
    },
    "adamw, average, batch norm, dropout": {
        "model": {"batch_norm": True, "dropout": 0.3, "spatial_dropout": 0.2},
        "optimizer": "adamw",
        "schedule": "cosine",
        "average": 0.9,
        "clip_norm": 1.0,
        "class_weight": "balanced",
    },
    "three classes, lion, all at once": {
        "classes": 3,
        "model": {"batch_norm": True, "activation": "gelu", "dropout": 0.2},
        "optimizer": "lion",
        "schedule": "one-cycle",
        "augment": Augment(rotate=20, brightness=0.2, mixup=1.0),
        "average": 0.8,
    },
    "adamw, small images first": {
        "model": {"batch_norm": True, "global_average_pool": True, "dropout": 0.2},
        "optimizer": "adamw",
        "schedule": "one-cycle",
        "augment": Augment(flip=True, shift=2, crop=0.8),
        "average": 0.8,
        "progressive": (0.5, 1.0),
    },
}


def make_model(case: str, seed: int = 5) -> CNN:
    settings = CASES[case]
    classes = settings.get("classes", 2)
    units = 1 if classes == 2 else classes
    options = settings.get("model", {})
    return CNN(SHAPE, [(4, 3), Conv(6, pool="avg")], [5, units], seed=seed, **options)


def fit(case: str, run: Path, model: CNN | None = None, **changes: Any) -> tuple[CNN, History]:
    """Train `model`, a new one if None, on the data of the case; resume what `run` holds."""
    model = model or make_model(case)
    settings = {k: v for k, v in CASES[case].items() if k not in ("model", "classes")}
    classes = CASES[case].get("classes", 2)
    X, y = data(classes=classes)
    arguments = {
        "epochs": EPOCHS,
        "learning_rate": 0.02,
        "batch_size": 16,
        "validation_data": data(20, classes, seed=1),
        "seed": 3,
        "progress": False,
        "resume": True,
    }
    history = ferrocnn.train(model, X, y, **(arguments | settings | changes), run=run)
    return model, history


def outcome(run: Path) -> dict[str, Any]:
    """All that a run leaves, as bits, but for its seconds."""
    found: dict[str, Any] = {}
    with np.load(run / "state.npz", allow_pickle=False) as state:
        for name in state.files:
            found[name] = state[name].tobytes()
    import json

    with np.load(run / "state.npz", allow_pickle=False) as state:
        position = json.loads(str(state["position"]))
    assert position["progress"]["batch"] == 0  # nothing is half done
    del position["history"]["seconds"]
    found["position"] = position
    for name in ("best.npz", "last.npz"):
        with np.load(run / name, allow_pickle=False) as model:
            found[name] = {key: model[key].tobytes() for key in model.files}
    with open(run / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found["results"] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    found["settings"] = (run / "settings.json").read_text()
    return found


def weights(model: CNN) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.state().items()}
