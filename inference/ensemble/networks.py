"""One architecture as a graph that takes the weights as an argument.

All members of an architecture share its graph, and so do all devices, since building
and tracing take seconds. TensorFlow runs a graph whose ops name no device on the
device of the caller's `tf.device`.
"""

import functools
from collections.abc import Sequence

import keras
import tensorflow as tf

from trainer.guard import taps
from trainer.models import registry

# Outputs of a network: logits [B, S, S, 1] or [B, 1].
MASK, LABEL = "mask", "label"
LOGITS = MASK, LABEL
# Weights of a network: those that training changes by gradients, and the others.
Weights = tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]

# Where weights wait until they are copied to the devices that predict. With the index:
# within the scope of GPU:1, "CPU" alone would mean CPU:1, which no machine has.
HOST = "/CPU:0"
_FLOAT32 = "float32"


class Network:
    """One architecture in one number format.

    Args:
      spec: spec of the model, see trainer/models/registry.py.
      image_size: side of the square input, in pixels.
      policy: dtype policy of its layers.
      fused: whether the faster layers are used, as in the member's training.
      outputs: what the graph returns, as far as the model has it: of LOGITS, and of
        the outputs of trainer/guard/taps.py.

    Attributes:
      policy: see above.
      model: the model, with its logits alone.
      outputs: names of what the graph returns.
    """

    def __init__(
        self,
        spec: str,
        image_size: int,
        policy: str,
        fused: bool = True,
        outputs: tuple[str, ...] = LOGITS,
    ):
        self._spec, self._image_size, self._fused = spec, image_size, fused
        self.policy = policy
        keras.mixed_precision.set_dtype_policy(policy)
        with tf.device(HOST):
            self.model = registry.build_from_spec(
                spec, image_size=image_size, fused=fused
            )
            self._computed = self.model
            if set(outputs) - set(LOGITS):
                self._computed = taps.tapped(self.model) or self.model
        self.outputs = [key for key in outputs if key in self._computed.output]

    def weights(self) -> Weights:
        """Returns copies of the model's current weights, in the host's memory."""
        model = self.model
        with tf.device(HOST):
            trainable, fixed = (
                [tf.identity(v.value) for v in variables]
                for variables in (
                    model.trainable_variables,
                    model.non_trainable_variables,
                )
            )
        return trainable, fixed

    @functools.cached_property
    def graph(self):
        """Maps images [B, S, S, 1] float32 in 0..255 and weights to a dict of logits.

        The first access traces it, once for all batch sizes, so that neither the order
        nor the sizes of the batches decide which graph runs. Keras keeps much of its
        state by thread; so trace it before other threads run it.
        """
        size = self._image_size
        specs = (
            [tf.TensorSpec(v.shape, v.dtype) for v in variables]
            for variables in (
                self.model.trainable_variables,
                self.model.non_trainable_variables,
            )
        )
        images = tf.TensorSpec([None, size, size, 1], tf.float32)
        return tf.function(self._call).get_concrete_function(images, *specs)

    @functools.cached_property
    def in_float32(self) -> "Network":
        """The same architecture in float32; it takes the same weights."""
        if self.policy == _FLOAT32:
            return self
        return Network(self._spec, self._image_size, _FLOAT32, self._fused)

    def _call(self, images: tf.Tensor, trainable, fixed) -> dict[str, tf.Tensor]:
        model, computed = self.model, self._computed
        values = [
            _in_order(of, by, given)
            for of, by, given in (
                (computed.trainable_variables, model.trainable_variables, trainable),
                (
                    computed.non_trainable_variables,
                    model.non_trainable_variables,
                    fixed,
                ),
            )
        ]
        found, _ = computed.stateless_call(*values, images, training=False)
        return {key: found[key] for key in self.outputs}


def _in_order(wanted: Sequence, given: Sequence, values: Sequence) -> list:
    """Returns values of the variables `given` in the order of those `wanted`."""
    by_variable = {id(v): value for v, value in zip(given, values, strict=True)}
    return [by_variable[id(variable)] for variable in wanted]
