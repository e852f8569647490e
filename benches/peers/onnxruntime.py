"""ONNX Runtime: inference on a graph written by hand, in its best layout (NCHW)."""

import os

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from benches.networks import INPUT_SHAPE
from benches.peers import Predictor

NAME = "ONNX Runtime"
TRAINING = ()
# The two orders give the same numbers; only ReLU before the pool is fused into the convolution.
INFERENCE = ("pool, ReLU", "ReLU, pool")


def versions():
    return {"onnxruntime": ort.__version__, "onnx": onnx.__version__}


def predictor(network, parameters, variant, batch_size):
    return _Predictor(network, parameters, variant, batch_size)


class _Predictor(Predictor):
    def __init__(self, network, parameters, variant, batch_size):
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
        graph = _model(network, parameters, variant.split(", "), batch_size)
        self._session = ort.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def place(self, X):
        return {"images": np.ascontiguousarray(X.transpose(0, 3, 1, 2))}

    def predict(self, batch):
        return self._session.run(None, batch)[0]


def _model(network, parameters, order, batch_size):
    """The network as ONNX. The scale of the pixels is folded into the first weights."""
    nodes, weights = [], []

    def constant(name, array):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(kind, *inputs, **attributes):
        output = f"value{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    x = node("Cast", "images", to=TensorProto.FLOAT)
    for k in range(1, len(network.filters) + 1):
        weight = parameters[f"conv{k}.weight"].transpose(3, 2, 0, 1)
        weight = constant(f"conv{k}.weight", weight / np.float32(255) if k == 1 else weight)
        bias = constant(f"conv{k}.bias", parameters[f"conv{k}.bias"])
        x = node("Conv", x, weight, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        for kind in order:
            if kind == "pool":
                x = node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
            else:
                x = node("Relu", x)
    x = node("Flatten", x)
    height, width, channels = network.feature_shape
    for k in range(1, len(network.dense) + 1):
        weight = parameters[f"dense{k}.weight"]
        if k == 1:
            grid = weight.reshape(height, width, channels, -1)
            weight = grid.transpose(2, 0, 1, 3).reshape(weight.shape)
        bias = constant(f"dense{k}.bias", parameters[f"dense{k}.bias"])
        x = node("Gemm", x, constant(f"dense{k}.weight", weight), bias)
        x = node("Relu" if k < len(network.dense) else "Sigmoid", x)

    height, width, channels = INPUT_SHAPE
    shape = [batch_size, channels, height, width]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, shape)
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, [batch_size, 1])
    graph = helper.make_graph(nodes, network.name, [images], [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10  # what older runtimes read as well
    return model
