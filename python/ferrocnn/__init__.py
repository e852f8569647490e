"""Train and run small convolutional image classifiers on ordinary CPUs."""

from importlib import import_module
from typing import TYPE_CHECKING

import ferrocnn.startup as _startup  # noqa: F401 - before all that needs the kernels
from ferrocnn import ops, schedules
from ferrocnn._kernels import __version__
from ferrocnn.architecture import Conv
from ferrocnn.augmentation import Augment
from ferrocnn.averaging import AveragedWeights
from ferrocnn.callbacks import CsvLog, EarlyStopping, SaveBest, SaveLast, TensorBoard
from ferrocnn.checkpoint import load
from ferrocnn.errors import DivergedError, ModelFileError, StopTraining
from ferrocnn.finder import LearningRates, find_learning_rate, suggest_learning_rate
from ferrocnn.gradients import as_array
from ferrocnn.history import History
from ferrocnn.metrics import Evaluation, evaluate
from ferrocnn.model import CNN
from ferrocnn.optimizers import SGD, Adam, AdamW, Lion, Momentum, Optimizer, optimizer_from_config
from ferrocnn.pictures import Prediction
from ferrocnn.runs import Run
from ferrocnn.threads import get_num_threads, set_num_threads
from ferrocnn.training import train
from ferrocnn.whitening import whiten

if TYPE_CHECKING:
    from ferrocnn.images import ImageDataset, load_images
    from ferrocnn.preprocessing import Preprocessing

__all__ = [
    "CNN",
    "SGD",
    "Adam",
    "AdamW",
    "Augment",
    "AveragedWeights",
    "Conv",
    "CsvLog",
    "DivergedError",
    "EarlyStopping",
    "Evaluation",
    "History",
    "ImageDataset",
    "LearningRates",
    "Lion",
    "ModelFileError",
    "Momentum",
    "Optimizer",
    "Prediction",
    "Preprocessing",
    "Run",
    "SaveBest",
    "SaveLast",
    "StopTraining",
    "TensorBoard",
    "__version__",
    "as_array",
    "evaluate",
    "find_learning_rate",
    "get_num_threads",
    "load",
    "load_images",
    "ops",
    "optimizer_from_config",
    "schedules",
    "set_num_threads",
    "suggest_learning_rate",
    "train",
    "whiten",
]

# Pillow is imported with these, and only by those who use them.
_LAZY = {
    "ImageDataset": "ferrocnn.images",
    "Preprocessing": "ferrocnn.preprocessing",
    "load_images": "ferrocnn.images",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
