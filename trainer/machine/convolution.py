"""A convolution, forward and backward on a device, compared with NumPy in float64.

It runs in the process that `tensorflow_process` starts, which a bad driver may kill.
"""

import dataclasses
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np

# Largest difference from float64, relative to the largest value. Rounding causes 1e-6
# in float32 (1e-3 in TF32), 2e-3 in float16 and 4e-3 in bfloat16; a bug about 1.
TOLERANCES = {"float32": 5e-3, "float16": 1e-2, "bfloat16": 3e-2}
# Lines that TensorFlow adds to an op's message: its place in the code.
_AROUND = re.compile(r"Graph execution|Detected at|Stack trace|<stack|File |\[\[")
_MARKS = re.compile(r"\{\{function_node[^}]*\}\} |\[Op:[^\]]*\].*")
_SECONDS = 0.3
_KERNEL = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """Size of a convolution: batch, side in pixels, channels in and out."""

    batch: int
    side: int
    channels: int

    def floating_point_operations(self) -> int:
        """Returns the count for one call: forward, and both gradients."""
        per_image = 2 * self.side**2 * _KERNEL**2 * self.channels**2
        return 3 * self.batch * per_image


# A small one leaves a GPU idle; on a CPU, TensorFlow 2.16 needs seconds in float16.
SIZES = {
    "CPU": Size(batch=2, side=64, channels=32),
    "GPU": Size(batch=16, side=128, channels=64),
}


def try_all(report: Callable[[str, Any], None]) -> None:
    """Tries every precision on every device, and XLA once on each.

    Args:
      report: called with ("begin", {device, what}) before each trial, and with
        ("trial", {device, what, gflops, difference, tolerance, error}) after it.
    """
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    for gpu in devices:
        tf.config.experimental.set_memory_growth(gpu, True)
    devices += tf.config.list_physical_devices("CPU")[:1]
    cases = {kind: _Case(SIZES[kind]) for kind in {d.device_type for d in devices}}
    for device in devices:
        name = device.name.removeprefix("/physical_device:")
        case = cases[device.device_type]
        for dtype in TOLERANCES:
            _try(report, name, case, dtype, jit=False)
        _try(report, name, case, "float32", jit=True)


def _try(report, device: str, case: "_Case", dtype: str, *, jit: bool) -> None:
    import tensorflow as tf

    about = {"device": device, "what": f"XLA {dtype}" if jit else dtype}
    report("begin", about)
    try:
        with tf.device(device):
            difference, seconds = case.run(dtype, jit=jit)
    except tf.errors.OpError as e:
        report("trial", about | {"error": reason(e.message)})
        return
    gflops = case.size.floating_point_operations() / seconds / 1e9
    measured = {"gflops": gflops, "difference": difference}
    report("trial", about | measured | {"tolerance": TOLERANCES[dtype]})


def reason(message: str) -> str:
    """Returns an op's own message within an error's message, in one line."""
    lines = [_MARKS.sub("", line).strip() for line in message.splitlines()]
    own = [line for line in lines if line and not _AROUND.match(line)]
    return (own or ["no reason given"])[0][:300]


class _Case:
    """Inputs of a convolution with its results in float64.

    All images of the batch are equal, so that NumPy computes the results of one.
    """

    def __init__(self, size: Size):
        generator = np.random.default_rng(0)
        self.size = size
        image, back = generator.normal(size=(2, 1, size.side, size.side, size.channels))
        kernel = generator.normal(size=[_KERNEL] * 2 + [size.channels] * 2)
        # Scales outputs to about 1, far from float16's largest value.
        kernel /= np.sqrt(_KERNEL**2 * size.channels)
        tile = (size.batch, 1, 1, 1)
        self.inputs = np.tile(image, tile), kernel, np.tile(back, tile)
        kernel_gradient = np.tensordot(
            _windows(image), back, axes=([0, 1, 2], [0, 1, 2])
        )
        turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
        self.expected = (
            _convolved(image, kernel),
            _convolved(back, turned),
            size.batch * kernel_gradient.transpose(1, 2, 0, 3),
        )

    def run(self, dtype: str, *, jit: bool) -> tuple[float, float]:
        """Returns the largest relative difference, and the seconds of one call."""
        import tensorflow as tf

        @tf.function(jit_compile=jit)
        def forward_and_back(image, kernel, back):
            with tf.GradientTape() as tape:
                tape.watch([image, kernel])
                output = tf.nn.conv2d(image, kernel, 1, "SAME")
            image_gradient, kernel_gradient = tape.gradient(
                output, [image, kernel], output_gradients=back
            )
            # Reading this scalar waits for the whole call.
            end = tf.reduce_sum(kernel_gradient)
            end += tf.reduce_sum(image_gradient[0, 0, 0])
            return output, image_gradient, kernel_gradient, end

        inputs = [tf.cast(value, dtype) for value in self.inputs]
        *results, _ = forward_and_back(*inputs)
        difference = max(
            _difference(tf.cast(result, tf.float32).numpy(), expected)
            for result, expected in zip(results, self.expected, strict=True)
        )
        return difference, _seconds(lambda: forward_and_back(*inputs)[-1].numpy())


def _seconds(call: Callable[[], Any]) -> float:
    """Returns the fastest call within a short time, after a warm-up call."""
    call()
    times, end = [], time.perf_counter() + _SECONDS
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _difference(result: np.ndarray, expected: np.ndarray) -> float:
    """Returns the largest relative difference; 1e9 where a value is not finite."""
    largest = np.abs(result - expected).max() / np.abs(expected).max()
    # JSON has no NaN.
    return float(largest) if np.isfinite(largest) else 1e9


def _windows(images: np.ndarray) -> np.ndarray:
    """Returns the 3 x 3 window around each pixel, [B, H, W, C, 3, 3]."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, [_KERNEL] * 2, axis=(1, 2))


def _convolved(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    return np.tensordot(_windows(images), kernel, axes=([3, 4, 5], [2, 0, 1]))
