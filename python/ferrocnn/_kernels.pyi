from typing import Any, final

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]
_Gradient = _Floats | tuple[_Floats, _Floats]
_Padding = str | tuple[int, int, int, int]

__all__ = [
    "MOST_THREADS",
    "BlockGeometry",
    "ConvGeometry",
    "Forward",
    "PoolGeometry",
    "__version__",
    "adam_update",
    "average_update",
    "avg_pool2d",
    "avg_pool2d_backward",
    "conv2d",
    "conv2d_backward",
    "conv_pool_relu_backward",
    "dense",
    "dense_backward",
    "dense_weight_gradient",
    "finite_range",
    "get_num_threads",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "instruction_set",
    "instruction_sets",
    "lion_update",
    "max_pool2d",
    "max_pool2d_backward",
    "momentum_update",
    "relu",
    "relu_backward",
    "set_num_threads",
    "sgd_update",
    "sigmoid",
    "sigmoid_cross_entropy",
    "sigmoid_cross_entropy_backward",
    "squared_norm",
]

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
    def __new__(cls, steps: list[tuple[Any, ...]]) -> Forward: ...
    def run(self, x: NDArray[Any]) -> None: ...

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

def conv_pool_relu_backward(
    geometry: BlockGeometry,
    grad: _Floats,
    winners: NDArray[np.uint8],
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
def max_pool2d(geometry: PoolGeometry, x: _Floats, out: _Floats, winners: NDArray[Any]) -> None: ...
def max_pool2d_backward(
    geometry: PoolGeometry, grad: _Floats, winners: NDArray[Any], dx: _Floats
) -> None: ...
def avg_pool2d(geometry: PoolGeometry, x: _Floats, out: _Floats) -> None: ...
def avg_pool2d_backward(geometry: PoolGeometry, grad: _Floats, dx: _Floats) -> None: ...
def global_avg_pool2d(x: _Floats, out: _Floats) -> None: ...
def global_avg_pool2d_backward(grad: _Floats, dx: _Floats) -> None: ...
def dense(x: _Floats, weight: _Floats, bias: _Floats | None, relu: bool, out: _Floats) -> None: ...
def dense_backward(grad: _Floats, weight: _Floats, dx: _Floats | None, dbias: _Floats) -> None: ...
def dense_weight_gradient(grad: _Floats, x: _Floats, dweight: _Floats) -> None: ...
def relu(x: _Floats) -> None: ...
def relu_backward(grad: _Floats, y: _Floats) -> None: ...
def sigmoid(x: _Floats) -> None: ...
def sigmoid_cross_entropy(logits: _Floats, targets: _Floats) -> float: ...
def sigmoid_cross_entropy_backward(
    logits: _Floats, targets: _Floats, scale: float, dlogits: _Floats
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
