"""Recipes: architecture, augmentation, optimiser and schedule that were found to work together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferrocnn.architecture import Conv
from ferrocnn.augmentation import Augment
from ferrocnn.optimizers import optimizer_from_config
from ferrocnn.schedules import OneCycle, Schedule
from ferrocnn.whitening import whiten

if TYPE_CHECKING:
    from ferrocnn.model import CNN


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to make and train a model.

    Attributes:
        summary: a line for those who choose.
        image_size: height and width of the model's images in pixels.
        stored_size: of the training images, where crops of larger ones are trained on.
        conv_filters, hidden_layers, options: the model; `hidden_layers` are the units of the dense
            layers but the last, `options` other arguments of `CNN`.
        epochs, batch_size, label_smoothing, clip_norm, average, progressive, augment, schedule: of
            `train`.
        optimizer: name and arguments.
        whiten: whether the first convolution starts from `ferrocnn.whiten` of the training images.
        flip_average: whether inference takes the mean over an image and its mirror image.
    """

    summary: str
    image_size: int = 64
    stored_size: int | None = None
    conv_filters: tuple[tuple[int, int] | Conv, ...]
    hidden_layers: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int
    batch_size: int = 64
    optimizer: Mapping[str, Any]
    schedule: Schedule
    augment: Augment | None
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    average: float | None = None
    progressive: tuple[float, ...] = (1.0,)
    whiten: bool = False
    flip_average: bool = False

    def model(
        self,
        classes: int,
        images: NDArray[np.uint8] | None = None,
        *,
        seed: int | None = None,
    ) -> "CNN":
        """Return a new model for this number of classes, which is to be trained on these images."""
        from ferrocnn.model import CNN

        model = CNN(
            (self.image_size, self.image_size, 3),
            self.conv_filters,
            (*self.hidden_layers, 1 if classes == 2 else classes),
            seed=seed,
            **self.options,
        )
        model.flip_average = self.flip_average
        if self.whiten and images is not None:
            whiten(model, images, 0 if seed is None else seed)
        return model

    def training(self) -> dict[str, Any]:
        """Return the arguments of `train`, with a new optimiser."""
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "optimizer": optimizer_from_config(self.optimizer),
            "schedule": self.schedule,
            "augment": self.augment,
            "label_smoothing": self.label_smoothing,
            "clip_norm": self.clip_norm,
            "average": self.average,
            "progressive": self.progressive,
        }


RECIPES = {
    "classic": Recipe(
        summary="the reference network: two blocks, three dense layers",
        conv_filters=((16, 3), (32, 3)),
        hidden_layers=(128, 64),
        options={"dropout": 0.2},
        epochs=60,
        optimizer={"name": "adamw", "learning_rate": 0.002, "weight_decay": 0.05},
        schedule=OneCycle(),
        augment=Augment(flip=True, shift=6),
        label_smoothing=0.1,
        flip_average=True,
    ),
    "fast": Recipe(
        summary="five convolutions with batch norm, a minute on two cores",
        conv_filters=((16, 3), (32, 3), (64, 3), (128, 3), Conv(128, pool=None)),
        hidden_layers=(),
        options={"batch_norm": True, "global_average_pool": True},
        epochs=10,
        optimizer={"name": "adamw", "learning_rate": 0.007, "weight_decay": 0.05},
        schedule=OneCycle(),
        augment=Augment(flip=True, shift=6),
        label_smoothing=0.1,
        whiten=True,
        flip_average=True,
    ),
    "best": Recipe(
        summary="seven wide convolutions with batch norm, 15 to 25 minutes on two cores",
        stored_size=96,
        conv_filters=(
            (32, 3),
            (64, 3),
            Conv(64, pool=None),
            (128, 3),
            Conv(128, pool=None),
            (256, 3),
            Conv(256, pool=None),
        ),
        hidden_layers=(),
        options={"batch_norm": True, "global_average_pool": True},
        epochs=75,
        optimizer={"name": "adamw", "learning_rate": 0.005, "weight_decay": 0.05},
        schedule=OneCycle(),
        augment=Augment(
            flip=True,
            shift=4,
            crop=0.4,
            brightness=0.2,
            contrast=0.2,
            saturation=0.2,
            cutout=16,
        ),
        label_smoothing=0.1,
        # A crop shows what is in it larger than the whole image does: images of 7/8 bring training
        # and inference to one scale (Touvron et al., "Fixing the train-test resolution
        # discrepancy", 2019).
        progressive=(0.5, 0.75, 0.875),
        flip_average=True,
    ),
}
