"""Counts the multiplications and additions of convolutions and matrix products.

Nothing else is counted on either side of a comparison: in these networks the rest
is below 2 % of the arithmetic, and libraries disagree on how to count it.
"""

import math

# The backward pass has one convolution for the input gradient and one for the weights'.
TRAINING = 3

_BY_FILTER = {"Conv2D": 3, "DepthwiseConv2dNative": 2}


def of_graph(graph) -> float:
    """Returns the GFLOP of one call of a TensorFlow graph and its nested functions.

    Args:
      graph: a FuncGraph whose shapes are all static, including the batch size.
    """
    total = sum(_flop(op) for op in graph.get_operations())
    return total / 1e9


def of_torch(model, images) -> float:
    """Returns the GFLOP of one forward pass of a PyTorch module."""
    import torch
    from torch.utils import flop_counter

    with flop_counter.FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    return counter.get_total_flops() / 1e9


def _flop(op) -> int:
    if op.type in _BY_FILTER:
        taps = math.prod(op.inputs[1].shape[: _BY_FILTER[op.type]])
        return 2 * math.prod(op.outputs[0].shape) * taps
    if op.type == "Conv2DBackpropInput":  # A transposed convolution
        taps = math.prod(op.inputs[1].shape[:3])
        return 2 * math.prod(op.inputs[2].shape) * taps
    if op.type == "MatMul":
        shared = op.inputs[0].shape[0 if op.get_attr("transpose_a") else 1]
        return 2 * math.prod(op.outputs[0].shape) * shared
    return 0
