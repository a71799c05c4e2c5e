"""What the validation step computes where."""

import tensorflow as tf

from tests import fakes
from trainer.optim import losses
from trainer.validation import evaluation_step


def test_bins_are_counted_on_the_cpu():
    """TensorFlow refuses its GPU kernel where ops must be deterministic."""
    model = fakes.build_tiny(image_size=32)
    strategy = tf.distribute.get_strategy()
    evaluate = evaluation_step.make_evaluate(strategy, model, losses.parse("bce(1)"))
    batch = {
        "image": tf.TensorSpec([2, 32, 32, 1], tf.uint8),
        "mask": tf.TensorSpec([2, 32, 32, 1], tf.uint8),
        "label": tf.TensorSpec([2], tf.int64),
        "position": tf.TensorSpec([2], tf.int64),
        "valid": tf.TensorSpec([2], tf.bool),
    }
    graph = evaluate.get_concrete_function(batch).graph
    counts = [op for op in graph.get_operations() if "Bincount" in op.type]
    assert len(counts) == 2
    assert all(op.device.endswith("CPU:0") for op in counts)
