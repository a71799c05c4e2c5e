"""The memory of a graph's tensors, from the graph alone.

TensorFlow allocates an op's outputs when it starts and frees a tensor after its last
reader. On a GPU one thread starts the ops in the order in which they became ready
(`ExecutorState::Process` in tensorflow/core/common_runtime/executor.cc). Repeating
that order gives the peak without computing anything.
"""

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

# Their output has the buffer of their first input.
_ALIASES = frozenset(
    {
        "Bitcast",
        "CheckNumerics",
        "EnsureShape",
        "ExpandDims",
        "Identity",
        "PreventGradient",
        "Reshape",
        "Squeeze",
        "StopGradient",
    }
)
# Their kernels write into an input that no other op reads any more, if it has the
# output's size (`forward_input_or_allocate_output`).
_FORWARDING = frozenset(
    {
        "Add",
        "AddN",
        "AddV2",
        "BiasAdd",
        "Elu",
        "Exp",
        "LeakyRelu",
        "LeakyReluGrad",
        "Log",
        "Maximum",
        "Minimum",
        "Mul",
        "Neg",
        "RealDiv",
        "Relu",
        "Relu6",
        "ReluGrad",
        "Rsqrt",
        "RsqrtGrad",
        "Sigmoid",
        "SigmoidGrad",
        "Sqrt",
        "Square",
        "Sub",
        "Tanh",
    }
)
# Their outputs have no static shape and are a few numbers, or lie on the host.
_SMALL = frozenset(
    {
        "EagerPyFunc",
        "PyFunc",
        "TensorListStack",
    }
)
# The attributes by which ops name the graphs that they run.
_FUNCTIONS = ("f", "body", "then_branch", "else_branch")
_CALLS = frozenset(
    {
        "If",
        "PartitionedCall",
        "StatefulPartitionedCall",
        "StatelessIf",
        "StatelessWhile",
        "While",
    }
)
_NOTHING = np.zeros([2], np.int64)


class UnknownShapeError(Exception):
    """A tensor of a graph has no static shape."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peak:
    """The moment at which a graph's tensors need most memory.

    Attributes:
      fixed: bytes that do not depend on the batch size: gradients of weights, and
        copies of weights in another dtype.
      per_image: further bytes for each image of the batch.
      batch_size: number of images.
    """

    fixed: int
    per_image: int
    batch_size: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.fixed + self.batch_size * self.per_image


class GraphMemory:
    """The memory of the tensors that a graph allocates on one device.

    Graphs of calls, of branches (each of them) and of loops (one turn) are counted.
    Inputs of the graph, variables and what kernels allocate beside their outputs, such
    as cuDNN's workspace, are not.

    Args:
      graph: of a concrete function. Ops that are placed on a device with another
        number than 0, such as those of a second replica, are not counted.
      traced_batch: batch size that the graph was traced with. A prime number that
        divides no other dimension tells tensors that grow with the batch from those
        that do not, so that one graph answers for every batch size.

    Raises:
      UnknownShapeError: a tensor has no static shape.
    """

    def __init__(self, graph: tf.Graph, traced_batch: int):
        # [moments, 2] int64: bytes (fixed, per image).
        self._moments = _Run(graph, traced_batch).moments()

    def peak(self, batch_size: int) -> Peak:
        """Returns the peak at a batch size."""
        totals = self._moments @ np.array([1, batch_size])
        fixed, per_image = map(int, self._moments[totals.argmax()])
        return Peak(fixed=fixed, per_image=per_image, batch_size=batch_size)


@dataclasses.dataclass(eq=False)
class _Buffer:
    """Memory that one or more tensors share.

    Attributes:
      size: [2] int64, bytes (fixed, per image).
      reads: how often ops that have not run yet read it; an output of the graph
        counts as a read that never happens.
    """

    size: np.ndarray
    reads: int = 0


class _Run:
    """Goes through the ops of one graph and keeps account of the buffers."""

    def __init__(self, graph: tf.Graph, traced_batch: int):
        self._graph, self._traced_batch = graph, traced_batch
        self._ops = _needed(graph)
        self._buffers: dict[tuple[str, int], _Buffer] = {}
        self._num_reads = collections.Counter(
            _key(tensor) for op in self._ops.values() for tensor in op.inputs
        )
        self._num_reads.update(map(_key, graph.outputs))
        self._now = _NOTHING

    def moments(self) -> np.ndarray:
        """Returns the bytes in use at every moment, [moments, 2] int64."""
        found = [np.zeros([1, 2], np.int64)]
        found += [self._run(op) for op in self._in_order()]
        return np.unique(np.concatenate(found), axis=0)

    def _in_order(self) -> Iterator[tf.Operation]:
        """Yields the ops in the order in which they become ready."""
        waits, followers = {}, collections.defaultdict(list)
        for op in self._ops.values():
            before = {tensor.op.name for tensor in op.inputs}
            before |= {other.name for other in op.control_inputs}
            waits[op.name] = len(before)
            for name in before:
                followers[name].append(op)
        ready = collections.deque(op for op in self._ops.values() if not waits[op.name])
        while ready:
            op = ready.popleft()
            yield op
            for follower in followers[op.name]:
                waits[follower.name] -= 1
                if not waits[follower.name]:
                    ready.append(follower)

    def _run(self, op: tf.Operation) -> np.ndarray:
        """Returns the bytes in use while the op runs, [moments, 2]."""
        inputs = [self._buffers[_key(t)] for t in op.inputs if _key(t) in self._buffers]
        for buffer in inputs:
            buffer.reads -= 1
        outputs = self._outputs(op, inputs)
        new = sum((b.size for b in {*outputs.values()} - {*inputs}), start=_NOTHING)
        used = [
            [new],
            *(_Run(g, self._traced_batch).moments() for g in self._graphs(op)),
        ]
        used = self._now + np.concatenate(
            [np.broadcast_to(u, [len(u), 2]) for u in used]
        )
        self._now = self._now + new
        for number, buffer in outputs.items():
            self._buffers[op.name, number] = buffer
            buffer.reads += self._num_reads[op.name, number]
        for buffer in {*inputs, *outputs.values()}:
            if not buffer.reads:
                self._now = self._now - buffer.size
                buffer.size = _NOTHING
        return used

    def _outputs(self, op, inputs: list[_Buffer]) -> dict[int, _Buffer]:
        """Returns the buffer of each output by its number; none for variables."""
        if _is_elsewhere(op) or op.type in ("Placeholder", "ReadVariableOp"):
            return {}
        if op.type in _ALIASES:
            same = self._buffers.get(_key(op.inputs[0]))
            return {0: same} if same else {}
        buffers = {k: _Buffer(self._size(t)) for k, t in enumerate(op.outputs)}
        if op.type in _FORWARDING:
            size = buffers[0].size
            free = (b for b in inputs if not b.reads and (b.size == size).all())
            buffers[0] = next(free, buffers[0])
        return buffers

    def _graphs(self, op: tf.Operation) -> list[tf.Graph]:
        """Returns the graphs that an op runs."""
        if op.type not in _CALLS or _is_elsewhere(op):
            return []
        attributes = op.node_def.attr
        names = [attributes[a].func.name for a in _FUNCTIONS if a in attributes]
        return [self._graph._get_function(name).graph for name in names]

    def _size(self, tensor: tf.Tensor) -> np.ndarray:
        """Returns the bytes of a tensor, [2] (fixed, per image)."""
        if tensor.op.type in _SMALL or not tensor.dtype.is_numpy_compatible:
            return _NOTHING
        if tensor.op.type == "FusedBatchNormV3" and tensor.value_index == 5:
            # What cuDNN keeps for a fused activation; it has no static shape.
            return _NOTHING
        count = tensor.shape.num_elements()
        if count is None:
            raise UnknownShapeError(f"{tensor.op.type} {tensor.name} {tensor.shape}")
        size = count * tensor.dtype.size
        if count and count % self._traced_batch == 0:
            return np.array([0, size // self._traced_batch])
        return np.array([size, 0])


def _needed(graph: tf.Graph) -> dict[str, tf.Operation]:
    """Returns by name the ops that run; TensorFlow drops those without effect."""
    found, stack = set(), [t.op for t in graph.outputs] + list(graph.control_outputs)
    while stack:
        op = stack.pop()
        if op.name not in found:
            found.add(op.name)
            stack += [t.op for t in op.inputs] + list(op.control_inputs)
    return {op.name: op for op in graph.get_operations() if op.name in found}


def _is_elsewhere(op: tf.Operation) -> bool:
    return bool(op.device and tf.DeviceSpec.from_string(op.device).device_index)


def _key(tensor: tf.Tensor) -> tuple[str, int]:
    return tensor.op.name, tensor.value_index
