"""ferrocnn itself, through the calls that its own training loop makes."""

import time

import ferrocnn
from benches import layers
from benches.networks import LEARNING_RATE, REFERENCE, images
from benches.peers import BATCH_SIZE, Predictor, Trainer

NAME = "ferrocnn"
TRAINING = ("default",)
INFERENCE = ("default",)


def versions():
    return {"ferrocnn": ferrocnn.__version__}


def model(network, parameters):
    cnn = ferrocnn.CNN(
        conv_filters=network.conv_filters, fc_layers=network.dense, batch_norm=network.batch_norm
    )
    cnn.set_parameters(parameters)
    return cnn


def trainer(network, parameters, variant):
    return _Trainer(model(network, parameters))


def predictor(network, parameters, variant, batch_size):
    return _Predictor(model(network, parameters))


class _Trainer(Trainer):
    def __init__(self, cnn):
        self._cnn = cnn
        self._rule = ferrocnn.SGD(LEARNING_RATE)

    def place(self, X, y):
        return X, y

    def step(self, batch):
        self._cnn.train_step(*batch, self._rule)

    def epochs(self, X, y, count):
        ferrocnn.train(self._cnn, X, y, count, LEARNING_RATE, BATCH_SIZE, seed=0, progress=False)

    def gradients(self, batch):
        return self._cnn.gradients(*batch)


class _Predictor(Predictor):
    def __init__(self, cnn):
        self._cnn = cnn

    def place(self, X):
        return X

    def predict(self, batch):
        return self._cnn.forward(batch)


def decode_folder(folder):
    # Its cache of decoded folders would make every run but the first a different race.
    dataset = ferrocnn.load_images(folder, cache=False)
    return dataset.images, dataset.labels


def layer_seconds(network, parameters, batch_size):
    """(layer, forward, backward) for each layer, in seconds a batch."""
    return layers.layer_seconds(model(network, parameters), images(batch_size)[0])


_AUGMENTATIONS = {
    "none": (64, None),
    "flip and shift": (64, ferrocnn.Augment(flip=True, shift=6)),
    "crop and colours": (
        96,
        ferrocnn.Augment(flip=True, crop=0.5, brightness=0.2, contrast=0.2, saturation=0.2),
    ),
}


def step_seconds(network, parameters, augmentation, count):
    """Seconds of a training step with an augmentation, as `train` counts them, on average.

    Of a second epoch on `count` images: the first gets its memory.
    """
    side, augment = _AUGMENTATIONS[augmentation]
    X, y = images(count, side)
    cnn = model(network, parameters)
    options = {"seed": 0, "progress": False, "augment": augment}
    history = ferrocnn.train(cnn, X, y, 2, LEARNING_RATE, BATCH_SIZE, **options)
    return history.seconds[-1] / (count / BATCH_SIZE)


def epoch_seconds(parameters, count):
    """Seconds of one epoch of the reference network on `count` images, as `train` takes it."""
    learner = trainer(REFERENCE, parameters, "default")
    X, y = images(count)
    start = time.perf_counter()
    learner.epochs(X, y, 1)
    return time.perf_counter() - start
