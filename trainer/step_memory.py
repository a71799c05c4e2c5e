"""An estimate of the device memory that a training step needs.

The step is traced as in training, and its tensors are followed through the graph: see
trainer/models/graph_memory.py. Nothing is computed and no GPU is needed.
"""

import dataclasses
import math

import keras
import tensorflow as tf

from data_prep.core import text_table
from trainer import step
from trainer.config import TrainConfig
from trainer.distributed import runtime
from trainer.machine import sizes
from trainer.models import batch_norm
from trainer.models import registry
from trainer.models.graph_memory import GraphMemory
from trainer.models.graph_memory import Peak
from trainer.optim import losses
from trainer.optim import optimizers
from trainer.optim.ema import MovingAverage

# What cuDNN takes as workspace and the allocator loses to fragmentation, as a fraction
# of the tensors. On an H200, U-Net++ on B4 at 256 px in bfloat16 with 32 images had a
# peak of 7.7 GB with fused layers and 9.8 GB without: 1.30 and 1.19 of its tensors.
ALLOWANCE = 0.3
# CUDA's context and the handles of its libraries, which no allocator counts.
CONTEXT = 600 << 20
# {the memory that a card is sold with: what is usable of it}, in GB of 2**30 bytes.
CARDS = {16: 15.0, 24: 22.5, 40: 39.4, 80: 79.0}
# A prime that divides no side and no number of channels: see GraphMemory.
_TRACED_BATCH = 509
_NOTE = """\
GB are of 2**30 bytes, batches are per device. An estimate, whose allowance was set on
one GPU: on an H200 the real peak of two networks was 0.78 to 0.97 of it. Other cards
are unmeasured. --jit and --augment_on=device are not counted."""
_GB = 1 << 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Device memory of a training step on each device, in bytes.

    Attributes:
      weights: of the network.
      averages: of the optimizer and of the moving average of the weights.
      graph: the tensors of a step, by the number of images in a part.
      accumulation: number of parts of a device's batch, one after the other.
      further_gradients: of the parts before, beyond the second.
    """

    weights: int
    averages: int
    graph: GraphMemory
    accumulation: int
    further_gradients: int

    def tensors(self, batch_size: int) -> Peak:
        """Returns the peak of a step's tensors.

        Args:
          batch_size: images of one device, over all of its parts.
        """
        peak = self.graph.peak(math.ceil(batch_size / self.accumulation))
        return dataclasses.replace(peak, fixed=peak.fixed + self.further_gradients)

    def allowance(self, batch_size: int) -> int:
        """Returns what is added for workspaces, fragmentation and CUDA itself."""
        return round(ALLOWANCE * self.tensors(batch_size).total) + CONTEXT

    def total(self, batch_size: int) -> int:
        """Returns the estimate of all memory at a batch size per device."""
        counted = self.weights + self.averages + self.tensors(batch_size).total
        return counted + self.allowance(batch_size)

    def fits(self, batch_size: int, card: int) -> bool:
        """Returns whether a batch fits a card of CARDS."""
        return self.total(batch_size) <= CARDS[card] * _GB

    def largest_batch(self, card: int) -> int:
        """Returns the largest batch per device that fits a card of CARDS.

        A multiple of four times the parts; below that, a power of two of the parts; 0
        where nothing fits.
        """
        unit = self.accumulation
        if not self.fits(4 * unit, card):
            return next((k * unit for k in (2, 1) if self.fits(k * unit, card)), 0)
        low, high = 1, 2
        while self.fits(4 * unit * high, card):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            fits = self.fits(4 * unit * middle, card)
            low, high = (middle, high) if fits else (low, middle)
        return 4 * unit * low


def on_logical_cpus() -> None:
    """Leaves this process two CPUs, as many as are ever traced on, and no GPU."""
    tf.config.set_visible_devices([], "GPU")
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )


def report(config: TrainConfig, *, image_size: int, num_devices: int) -> str:
    """Returns the estimate as text: what needs memory, and the cards that it fits.

    Raises:
      CommandError: the batch does not divide among the devices and parts.
      ConfigError: a bad spec of the model or the loss.
    """
    step.check_batch_size(num_devices * config.accumulation, config.global_batch_size)
    batch_size = config.global_batch_size // num_devices
    found = estimate(config, image_size=image_size, num_devices=num_devices)
    peak = found.tensors(batch_size)
    rows = [
        ("weights", found.weights),
        (
            f"{config.optimizer}{' and moving average' * bool(config.ema_momentum)}",
            found.averages,
        ),
        ("gradients and copies of weights, at the peak", peak.fixed),
        (
            f"activations and inputs, {peak.batch_size} images at once",
            peak.batch_size * peak.per_image,
        ),
        (
            "allowance: cuDNN's workspace, fragmentation, CUDA",
            found.allowance(batch_size),
        ),
        ("sum", found.total(batch_size)),
    ]
    where = f"each of {num_devices} devices" if num_devices > 1 else "one device"
    parts = f" in {config.accumulation} parts" * (config.accumulation > 1)
    lines = [
        f"{config.model}, {image_size} px, {config.precision}",
        f"a training step on {where}, {batch_size} images{parts}:",
        "",
        text_table.render(
            ("memory", "size"),
            [(name, sizes.shown(size)) for name, size in rows],
            left=("memory",),
        ),
        "",
    ]
    shown = sizes.shown(found.total(batch_size))
    for card, usable in CARDS.items():
        answer = "yes" if found.fits(batch_size, card) else "no"
        lines.append(
            f"fits a {card} GB card ({usable:.1f} GB usable): {answer}, {shown} at "
            f"batch {batch_size}; largest batch: {found.largest_batch(card)}"
        )
    return "\n".join([*lines, "", _NOTE])


def estimate(config: TrainConfig, *, image_size: int, num_devices: int) -> StepMemory:
    """Traces a training step on CPUs, and returns its memory on each device.

    Not counted are XLA (`config.jit`), which plans memory otherwise, and augmentation
    on the device. Several devices need more memory each than one does, since batch
    norm over all of them keeps float32 copies of its inputs.

    Args:
      config: its global batch size does not matter.
      image_size: side of the images, in pixels.
      num_devices: replicas; more than one needs two logical CPUs in this process.

    Raises:
      ConfigError: a bad spec of the model or the loss.
    """
    policy = keras.mixed_precision.dtype_policy()
    keras.backend.clear_session()
    keras.mixed_precision.set_dtype_policy(config.precision)
    try:
        return _traced(config, image_size, _strategy(num_devices))
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


def _strategy(num_devices: int) -> tf.distribute.Strategy:
    if num_devices == 1:
        return tf.distribute.get_strategy()
    # Each of many devices needs what each of two does.
    return runtime.mirrored(
        *(d.name for d in tf.config.list_logical_devices("CPU")[:2])
    )


def _traced(config: TrainConfig, image_size: int, strategy) -> StepMemory:
    # More parts come one after the other, and leave only their gradients.
    num_parts = min(2, config.accumulation)
    batch_size = _TRACED_BATCH * num_parts
    traced = dataclasses.replace(
        config,
        accumulation=num_parts,
        global_batch_size=batch_size * strategy.num_replicas_in_sync,
        jit=False,
    )
    with strategy.scope():
        model = registry.build_from_spec(
            config.model, image_size=image_size, fused=config.fused
        )
        batch_norm.set_up(model, momentum=config.batch_norm_momentum)
        optimizer = optimizers.build(traced, model)
        momentum = config.ema_momentum
        ema = MovingAverage(model, momentum) if momentum else None
    loss = losses.parse(config.loss)
    train = step.make_train(strategy, model, optimizer, loss, traced, ema=ema)
    batches = _batches(strategy, batch_size, image_size)
    graph = train.get_concrete_function(batches, tf.constant(1)).graph
    averages = [*optimizer.variables, *(ema.variables if ema else ())]
    return StepMemory(
        weights=_num_bytes(model.weights),
        averages=_num_bytes(averages),
        graph=GraphMemory(graph, _TRACED_BATCH),
        accumulation=config.accumulation,
        further_gradients=(config.accumulation - num_parts)
        * _num_bytes(model.trainable_weights),
    )


def _batches(strategy: tf.distribute.Strategy, batch_size: int, image_size: int):
    """Returns an iterator of batches whose size is known to the graph."""

    def batch(_):
        pixels = tf.zeros([batch_size, image_size, image_size, 1], tf.uint8)
        labels = tf.zeros([batch_size], tf.int64)
        return {"image": pixels, "mask": pixels, "label": labels}

    def dataset(_):
        return tf.data.Dataset.range(1).map(batch).repeat()

    return iter(strategy.distribute_datasets_from_function(dataset))


def _num_bytes(variables) -> int:
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)
