"""PyTorch, eager and compiled, in its own layout (NCHW) and with channels last."""

import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F  # noqa: N812  as its documentation writes it

from benches.networks import EPSILON, LEARNING_RATE, NEWEST, running_moments
from benches.peers import Predictor, Trainer

NAME = "PyTorch"
TRAINING = ("eager NCHW", "eager channels-last", "compiled NCHW", "compiled channels-last")
INFERENCE = TRAINING


def versions():
    return {"torch": torch.__version__}


def trainer(network, parameters, variant):
    torch._dynamo.reset()  # it compiles a function eight times, and from then on runs it eagerly
    return _Trainer(network, parameters, *_options(variant))


def predictor(network, parameters, variant, batch_size):
    torch._dynamo.reset()
    return _Predictor(network, parameters, *_options(variant))


def _options(variant):
    return variant.startswith("compiled"), variant.endswith("channels-last")


class _Network:
    """Weights as PyTorch wants them, and the way from and to ferrocnn's layout."""

    def __init__(self, network, parameters, channels_last):
        self._network = network
        self._channels_last = channels_last
        self.tensors = {name: self._own(name, p) for name, p in parameters.items()}
        moments = running_moments(network)
        self.moments = {name: torch.from_numpy(m) for name, m in moments.items()}

    def images(self, X):
        """A (n, 3, 64, 64) uint8 tensor, stored in the variant's layout."""
        x = torch.from_numpy(X).permute(0, 3, 1, 2)
        return x if self._channels_last else x.contiguous()

    def logits(self, X):
        tensors = self.tensors
        x = X.float() * (1 / 255)
        for k in range(1, len(self._network.filters) + 1):
            x = F.conv2d(x, tensors[f"conv{k}.weight"], tensors.get(f"conv{k}.bias"), padding=1)
            x = F.max_pool2d(x, 2)
            if self._network.batch_norm:
                x = self._batch_norm(f"norm{k}", x)
            x = F.relu(x)
        # Channels last, the features lie in ferrocnn's order, and nothing is copied.
        x = x.permute(0, 2, 3, 1).flatten(1) if self._channels_last else x.flatten(1)
        for k in range(1, len(self._network.dense) + 1):
            x = F.linear(x, tensors[f"dense{k}.weight"], tensors[f"dense{k}.bias"])
            if k < len(self._network.dense):
                x = F.relu(x)
        return x[:, 0]

    def _batch_norm(self, name, x):
        """In training; it updates the running moments."""
        mean, variance = self.moments[f"{name}.running_mean"], self.moments[f"{name}.running_var"]
        gamma, beta = self.tensors[f"{name}.gamma"], self.tensors[f"{name}.beta"]
        return F.batch_norm(x, mean, variance, gamma, beta, True, NEWEST, EPSILON)

    def _own(self, name, array):
        tensor = torch.from_numpy(array)
        if tensor.ndim == 1:
            return tensor.clone()
        if name.startswith("conv"):
            tensor = tensor.permute(3, 2, 0, 1)
            format = torch.channels_last if self._channels_last else torch.contiguous_format
            return tensor.clone(memory_format=format)
        if name == "dense1.weight" and not self._channels_last:
            height, width, channels = self._network.feature_shape
            grid = tensor.reshape(height, width, channels, -1).permute(2, 0, 1, 3)
            tensor = grid.reshape(tensor.shape)
        return tensor.T.clone(memory_format=torch.contiguous_format)

    def theirs(self, name, tensor):
        """The inverse of `_own`, for gradients."""
        if tensor.ndim == 1:
            return tensor.numpy()
        if name.startswith("conv"):
            return tensor.permute(2, 3, 1, 0).numpy()
        tensor = tensor.T
        if name == "dense1.weight" and not self._channels_last:
            height, width, channels = self._network.feature_shape
            grid = tensor.reshape(channels, height, width, -1).permute(1, 2, 0, 3)
            tensor = grid.reshape(tensor.shape)
        return tensor.numpy()


class _Trainer(Trainer):
    def __init__(self, network, parameters, compiled, channels_last):
        self._net = _Network(network, parameters, channels_last)
        for tensor in self._net.tensors.values():
            tensor.requires_grad_()
        self._rule = torch.optim.SGD(self._net.tensors.values(), LEARNING_RATE, fused=True)

        def loss(X, y):
            return F.binary_cross_entropy_with_logits(self._net.logits(X), y)

        self._loss = torch.compile(loss, dynamic=False) if compiled else loss

    def place(self, X, y):
        return self._net.images(X), torch.from_numpy(y)

    def step(self, batch):
        self._rule.zero_grad(set_to_none=True)
        self._loss(*batch).backward()
        self._rule.step()

    def gradients(self, batch):
        self._rule.zero_grad(set_to_none=True)
        loss = self._loss(*batch)
        loss.backward()
        tensors = self._net.tensors.items()
        return loss.item(), {name: self._net.theirs(name, t.grad) for name, t in tensors}


class _Predictor(Predictor):
    def __init__(self, network, parameters, compiled, channels_last):
        self._net = _Network(network, parameters, channels_last)

        def probabilities(X):
            return torch.sigmoid(self._net.logits(X))

        if compiled:  # freezing lays out the weights for the kernels once
            probabilities = torch.compile(probabilities, dynamic=False, options={"freezing": True})
        self._probabilities = probabilities

    def place(self, X):
        return self._net.images(X)

    def predict(self, batch):
        with torch.inference_mode():
            return self._probabilities(batch).numpy()


class _Photographs(torch.utils.data.Dataset):
    def __init__(self, folder):
        classes = sorted(path for path in Path(folder).iterdir() if path.is_dir())
        self._files = [(f, k) for k, path in enumerate(classes) for f in sorted(path.iterdir())]

    def __len__(self):
        return len(self._files)

    def __getitem__(self, index):
        path, label = self._files[index]
        with Image.open(path) as image:
            image.draft("RGB", (64, 64))
            pixels = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels.copy()), label


_workers = 0


def tune_decoding(folder):
    """Take the number of loader processes that decodes the first files fastest."""
    global _workers

    def seconds(workers):
        start = time.perf_counter()
        _decode(torch.utils.data.Subset(_Photographs(folder), range(2000)), workers)
        return time.perf_counter() - start

    _workers = min(range(int(os.environ["OMP_NUM_THREADS"]) + 1), key=seconds)


def decode_folder(folder):
    # Every epoch but the first would decode again; the set is kept in memory, a byte a value.
    return _decode(_Photographs(folder), _workers)


def _decode(dataset, workers):
    batches = torch.utils.data.DataLoader(dataset, 256, num_workers=workers)
    X, y = zip(*batches, strict=True)
    return torch.cat(X).numpy(), torch.cat(y).float().numpy()
