"""Speed of training: images a second, and the share of time spent on input."""

import numpy as np


class Throughput:
    """Adds up calls of the training graph.

    Args:
      images_per_step: the global batch size.
    """

    def __init__(self, images_per_step: int):
        self._images_per_step = images_per_step
        self.reset()

    def reset(self) -> None:
        """Forgets all calls."""
        self._num_steps, self._wait_s, self._seconds = 0, 0.0, 0.0

    def add(self, waits: np.ndarray, seconds: float) -> None:
        """Adds a call.

        Args:
          waits: [K] seconds that each of its steps waited for input.
          seconds: duration of the call.
        """
        self._num_steps += len(waits)
        self._wait_s += float(waits.sum())
        self._seconds += seconds

    def scalars(self) -> dict[str, float]:
        """Returns "images_per_second" and "input_wait", a share in 0..1."""
        seconds = max(self._seconds, 1e-9)
        return {
            "images_per_second": self._num_steps * self._images_per_step / seconds,
            "input_wait": self._wait_s / seconds,
        }
