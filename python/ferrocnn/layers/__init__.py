"""Layers: parameters, and a forward / backward pair over the kernels."""

from ferrocnn.layers.base import Layer, Plan
from ferrocnn.layers.convolution import Conv2d, ConvPool
from ferrocnn.layers.dense import Dense
from ferrocnn.layers.norm import BatchNorm
from ferrocnn.layers.pointwise import Activation, Dropout
from ferrocnn.layers.pooling import AveragePool, MaxPool

__all__ = [
    "Activation",
    "AveragePool",
    "BatchNorm",
    "Conv2d",
    "ConvPool",
    "Dense",
    "Dropout",
    "Layer",
    "MaxPool",
    "Plan",
]
