"""The distributed step: forward, loss over the global batch, gradient, apply.

Our own, because Keras 3's `fit` fails under a strategy with several steps a
call, with XLA, and with several workers.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from trainer import objective
from trainer.losses import Loss


def make_train(
    strategy: tf.distribute.Strategy,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: Loss,
    *,
    global_batch_size: int,
) -> Callable:
    """Returns a graph function (iterator, number of steps) -> [steps] losses.

    The iterator yields distributed batches of "image" and "mask" uint8, and
    "label" where the model has such an output.
    """

    def replica_step(batch):
        with tf.GradientTape() as tape:
            images = tf.cast(batch["image"], tf.float32)
            outputs = model(images, training=True)
            values = objective.per_image(loss, batch, outputs)
            # Sums over replicas to the mean over the global batch.
            value = tf.reduce_sum(values) / global_batch_size
            # A mean over the replica's batch each.
            for term in model.losses:
                value += tf.cast(term, tf.float32) / strategy.num_replicas_in_sync
            scaled = optimizer.scale_loss(value)
        gradients = tape.gradient(scaled, model.trainable_variables)
        # The optimizer sums over replicas, and unscales where it had scaled.
        optimizer.apply(gradients, model.trainable_variables)
        return value

    @tf.function
    def train(iterator, num_steps):
        losses = tf.TensorArray(tf.float32, num_steps)
        for k in tf.range(num_steps):
            values = strategy.run(replica_step, args=(next(iterator),))
            value = strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)
            losses = losses.write(k, value)
        return losses.stack()

    return train


def make_evaluate(
    strategy: tf.distribute.Strategy, model: keras.Model, loss: Loss
) -> Callable:
    """Returns a graph function from a distributed batch to per-replica results.

    Results, each [B]: "loss"; "overlap", "truth_area", "predicted_area" in
    pixels at threshold 0.5; "valid".
    """

    def replica_step(batch):
        logits = model(tf.cast(batch["image"], tf.float32), training=False)["mask"]
        truth = batch["mask"] > 0
        predicted = logits >= 0.0  # The logit of probability 0.5.

        def count(pixels):
            return tf.reduce_sum(tf.cast(pixels, tf.int64), axis=[1, 2, 3])

        return {
            "loss": loss(batch["mask"], logits),
            "overlap": count(truth & predicted),
            "truth_area": count(truth),
            "predicted_area": count(predicted),
            "valid": batch["valid"],
        }

    return tf.function(lambda batch: strategy.run(replica_step, args=(batch,)))


def make_forward(strategy: tf.distribute.Strategy, model: keras.Model) -> Callable:
    """Returns a graph function that runs the training-mode forward pass alone."""

    def replica_step(batch):
        model(tf.cast(batch["image"], tf.float32), training=True)

    @tf.function
    def forward(iterator):
        strategy.run(replica_step, args=(next(iterator),))

    return forward
