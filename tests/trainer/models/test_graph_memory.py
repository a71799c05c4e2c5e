"""Peaks of graphs that are small enough to count by hand; B images, float32."""

import pytest
import tensorflow as tf

from trainer.models.graph_memory import GraphMemory
from trainer.models.graph_memory import Peak
from trainer.models.graph_memory import UnknownShapeError

B = 101  # A prime that divides nothing else here.
ROW = 4 * 10  # Bytes of [10] float32.


def peak(function, batch_size=B, shape=(B, 10)):
    graph = tf.function(function).get_concrete_function(tf.TensorSpec(shape)).graph
    return GraphMemory(graph, B).peak(batch_size)


def rows(function):
    """Returns the peak as a number of tensors [B, 10]; an axis is a few bytes more."""
    found = peak(function)
    assert found.fixed < ROW
    return found.per_image / ROW


def wide(x):
    """An op whose output is new and as large as its input."""
    return tf.reverse(x, axis=[1])


def test_a_tensor_is_freed_after_its_last_reader():
    """An input is not counted; of a chain, two tensors live at a time."""
    assert rows(wide) == 1
    assert rows(lambda x: wide(wide(x))) == 2
    assert rows(lambda x: wide(wide(wide(wide(x))))) == 2


def test_a_tensor_lives_until_its_last_reader():
    def kept(x):
        first = wide(x)
        return wide(wide(wide(first))) + first

    assert rows(kept) == 3


def test_an_elementwise_op_writes_into_what_nothing_else_reads():
    assert rows(lambda x: tf.tanh(wide(x))) == 1

    def read_twice(x):
        first = wide(x)
        return tf.tanh(first), wide(first)

    assert rows(read_twice) == 3


def test_a_new_shape_is_no_new_tensor():
    assert rows(lambda x: tf.reshape(wide(x), [10, B])) == 1
    assert rows(lambda x: wide(tf.identity(x))) == 1


def test_any_batch_size_by_one_graph():
    def with_weights(x):
        weights = tf.cast(tf.reverse(tf.ones([10, 10]), [0]), tf.float16)
        return tf.cast(x, tf.float16) @ weights

    # The copy of the weights, the images in float16 and the product.
    assert peak(with_weights, batch_size=1000) == Peak(
        fixed=200, per_image=40, batch_size=1000
    )
    # With few images, the weights twice in float32, and an axis.
    assert peak(with_weights, batch_size=3).fixed == 804


def test_the_moment_of_the_peak_depends_on_the_batch_size():
    def two_moments(x):
        weights = tf.reverse(tf.ones([10, 10]), [0])
        return tf.reduce_sum(weights), wide(wide(x))

    assert peak(two_moments, batch_size=1).fixed >= 400
    assert peak(two_moments, batch_size=1000).per_image == 2 * ROW


def test_graphs_within_a_graph_are_counted():
    inner = tf.function(lambda x: wide(wide(wide(x))), autograph=False)
    assert rows(lambda x: inner(wide(x))) == 3

    def branches(x):
        larger = tf.reduce_sum(x) > 0
        return tf.cond(larger, lambda: wide(wide(x)), lambda: wide(x))

    assert rows(branches) >= 2

    def loop(x):
        return tf.while_loop(
            lambda _: True, lambda y: (wide(wide(wide(y))),), (x,), maximum_iterations=3
        )[0]

    assert rows(loop) >= 2


def test_what_changes_nothing_is_not_run():
    def useless(x):
        wide(wide(x))
        return wide(x)

    assert rows(useless) == 1


def test_another_device_has_its_own_memory():
    def on(number):
        def function(x):
            with tf.device(f"/device:CPU:{number}"):
                return wide(wide(x))

        return function

    assert rows(on(0)) == 2
    assert rows(on(1)) == 0


def test_order_is_that_of_readiness_and_edges():
    """Two chains run side by side, unless one has to wait for the other."""

    def chain(x):
        kept = [x]
        for _ in range(4):
            kept.append(wide(kept[-1]))
        return tf.add_n([tf.reduce_sum(k, axis=1) for k in kept])

    def after(x):
        first = chain(x)
        with tf.control_dependencies([first]):
            return first + chain(tf.identity(x))

    def beside(x):
        return chain(x) + chain(tf.identity(x))

    assert peak(after).total < peak(beside).total


def test_an_unknown_shape_is_an_error():
    with pytest.raises(UnknownShapeError, match=r"ReverseV2 .*\(None, 10\)"):
        peak(wide, shape=(None, 10))
