from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_Bytes = NDArray[np.uint8]
_Floats = NDArray[np.float32]
_Gradient = _Floats | tuple[_Floats, _Floats]
_Padding = str | tuple[int, int, int, int]

__all__ = [
    "ACTIVATIONS",
    "MOST_THREADS",
    "BlockGeometry",
    "ConvGeometry",
    "Forward",
    "PoolGeometry",
    "Step",
    "__version__",
    "activation",
    "activation_backward",
    "adam_update",
    "augment",
    "average_update",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "conv2d",
    "conv2d_backward",
    "conv_backward",
    "conv_pool_backward",
    "decode_jpegs",
    "dense",
    "dense_backward",
    "dense_weight_gradient",
    "dropout",
    "dropout_backward",
    "finite_range",
    "gather",
    "get_num_threads",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "hits",
    "instruction_set",
    "instruction_sets",
    "lion_update",
    "max_pool2d",
    "max_pool2d_backward",
    "mix",
    "momentum_update",
    "relu",
    "relu_backward",
    "resize",
    "set_num_threads",
    "sgd_update",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_backward",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "squared_norm",
]

ACTIVATIONS: list[str]
MOST_THREADS: int
__version__: str

@final
class ConvGeometry:
    def __new__(
        cls,
        input_shape: tuple[int, int, int],
        kernel_size: tuple[int, int],
        out_channels: int,
        stride: tuple[int, int],
        padding: _Padding,
    ) -> ConvGeometry: ...
    @property
    def output_shape(self) -> tuple[int, int, int]: ...

@final
class Forward:
    def __new__(cls, steps: list[Step]) -> Forward: ...
    def run(self, x: NDArray[Any]) -> None: ...

@final
class Step:
    @staticmethod
    def conv_pool(
        geometry: BlockGeometry,
        weight: _Floats,
        bias: _Floats,
        affine: tuple[_Floats, _Floats] | None,
        relu: bool,
        out: _Floats,
        winners: NDArray[np.uint8],
    ) -> Step: ...
    @staticmethod
    def conv(geometry: ConvGeometry, weight: _Floats, bias: _Floats, out: _Floats) -> Step: ...
    @staticmethod
    def max_pool(geometry: PoolGeometry, out: _Floats, winners: NDArray[np.uint8]) -> Step: ...
    @staticmethod
    def average_pool(geometry: PoolGeometry, out: _Floats) -> Step: ...
    @staticmethod
    def batch_norm(
        gamma: _Floats,
        beta: _Floats,
        epsilon: float,
        activation: str,
        mean: _Floats,
        variance: _Floats,
        training: bool,
        out: _Floats,
    ) -> Step: ...
    @staticmethod
    def activation(kind: str, out: _Floats) -> Step: ...
    @staticmethod
    def dropout(rate: float, key: NDArray[np.uint64], spatial: bool, out: _Floats) -> Step: ...
    @staticmethod
    def dense(weight: _Floats, bias: _Floats, relu: bool, out: _Floats) -> Step: ...

@final
class PoolGeometry:
    def __new__(
        cls,
        input_shape: tuple[int, int, int],
        window: tuple[int, int],
        stride: tuple[int, int],
        padding: _Padding,
    ) -> PoolGeometry: ...
    @property
    def output_shape(self) -> tuple[int, int, int]: ...

@final
class BlockGeometry:
    def __new__(
        cls,
        input_shape: tuple[int, int, int],
        kernel_size: tuple[int, int],
        out_channels: int,
        padding: _Padding,
    ) -> BlockGeometry: ...
    @property
    def conv_output_shape(self) -> tuple[int, int, int]: ...
    @property
    def output_shape(self) -> tuple[int, int, int]: ...

def conv_pool_backward(
    geometry: BlockGeometry,
    grad: _Floats,
    winners: NDArray[np.uint8],
    relu: bool,
    x: NDArray[Any],
    weight: _Floats,
    dx: _Floats | None,
    dweight: _Floats,
    dbias: _Floats,
) -> None: ...
def conv2d(
    geometry: ConvGeometry,
    x: NDArray[Any],
    weight: _Floats,
    bias: _Floats | None,
    out: _Floats,
) -> None: ...
def conv2d_backward(
    geometry: ConvGeometry,
    grad: _Floats,
    x: NDArray[Any],
    weight: _Floats,
    dx: _Floats | None,
    dweight: _Floats,
    dbias: _Floats,
) -> None: ...
def conv_backward(
    geometry: ConvGeometry,
    grad: _Floats,
    x: NDArray[Any],
    weight: _Floats,
    dx: _Floats | None,
    dweight: _Floats,
    dbias: _Floats,
) -> None: ...
def max_pool2d(geometry: PoolGeometry, x: _Floats, out: _Floats, winners: NDArray[Any]) -> None: ...
def max_pool2d_backward(
    geometry: PoolGeometry, grad: _Floats, winners: NDArray[Any], dx: _Floats
) -> None: ...
def avg_pool2d(geometry: PoolGeometry, x: _Floats, out: _Floats) -> None: ...
def avg_pool2d_backward(geometry: PoolGeometry, grad: _Floats, dx: _Floats) -> None: ...
def global_avg_pool2d(x: _Floats, out: _Floats) -> None: ...
def global_avg_pool2d_backward(grad: _Floats, dx: _Floats) -> None: ...
def dense(x: _Floats, weight: _Floats, bias: _Floats | None, relu: bool, out: _Floats) -> None: ...
def dense_backward(
    grad: _Floats,
    weight: _Floats,
    rectified: _Floats | None,
    dx: _Floats | None,
    dbias: _Floats,
) -> None: ...
def dense_weight_gradient(grad: _Floats, x: _Floats, dweight: _Floats) -> None: ...
def activation(kind: str, x: _Floats, out: _Floats) -> None: ...
def activation_backward(kind: str, grad: _Floats, x: _Floats) -> None: ...
def dropout(rate: float, key: int, spatial: bool, x: _Floats, out: _Floats) -> None: ...
def dropout_backward(rate: float, key: int, spatial: bool, grad: _Floats) -> None: ...
def batch_norm(
    gamma: _Floats,
    beta: _Floats,
    epsilon: float,
    activation: str,
    x: _Floats,
    mean: _Floats,
    variance: _Floats,
    training: bool,
    out: _Floats,
) -> None: ...
def batch_norm_backward(
    gamma: _Floats,
    beta: _Floats,
    epsilon: float,
    activation: str,
    grad: _Floats,
    x: _Floats,
    mean: _Floats,
    variance: _Floats,
    dgamma: _Floats,
    dbeta: _Floats,
) -> None: ...
def relu(x: _Floats) -> None: ...
def relu_backward(grad: _Floats, y: _Floats) -> None: ...
def sigmoid(x: _Floats) -> None: ...
def softmax(x: _Floats) -> None: ...
def sigmoid_cross_entropy(logits: _Floats, targets: _Floats, weights: _Floats | None) -> float: ...
def sigmoid_cross_entropy_backward(
    logits: _Floats, targets: _Floats, weights: _Floats | None, scale: float, dlogits: _Floats
) -> None: ...
def hits(logits: _Floats, targets: _Floats) -> int: ...
def softmax_cross_entropy(logits: _Floats, targets: _Floats, weights: _Floats | None) -> float: ...
def softmax_cross_entropy_backward(
    logits: _Floats, targets: _Floats, weights: _Floats | None, scale: float, dlogits: _Floats
) -> None: ...
def finite_range(x: _Floats) -> tuple[float, float] | None: ...
def squared_norm(gradient: _Gradient) -> float: ...
def sgd_update(
    parameter: _Floats, gradient: _Gradient, learning_rate: float, weight_decay: float
) -> None: ...
def momentum_update(
    parameter: _Floats,
    gradient: _Gradient,
    velocity: _Floats,
    learning_rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None: ...
def adam_update(
    parameter: _Floats,
    gradient: _Gradient,
    first_moment: _Floats,
    second_moment: _Floats,
    step: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> None: ...
def augment(
    images: _Bytes,
    key: int,
    flip: bool,
    shift: int,
    crop: float,
    rotate: float,
    brightness: float,
    contrast: float,
    saturation: float,
    cutout: int,
    out: _Bytes,
) -> None: ...
def decode_jpegs(
    paths: list[str], side_limit: int, pixel_limit: float | None, out: _Bytes
) -> list[bool]: ...
def resize(image: _Bytes, region: tuple[float, float, float, float], out: _Bytes) -> None: ...
def gather(images: _Bytes, indices: NDArray[np.int64], out: _Bytes) -> None: ...
def mix(images: _Bytes, partners: NDArray[np.int64], lambdas: _Floats) -> None: ...
def lion_update(
    parameter: _Floats,
    gradient: _Gradient,
    moment: _Floats,
    learning_rate: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
) -> None: ...
def average_update(average: _Floats, parameter: _Floats, decay: float) -> None: ...
def set_num_threads(count: int) -> None: ...
def get_num_threads() -> int: ...
def instruction_set() -> str: ...
def instruction_sets() -> list[str]: ...
