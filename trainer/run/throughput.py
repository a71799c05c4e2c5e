"""Speed of training: images a second, and the share of time spent on input.

The wait for input is measured in a sample of the calls of the training graph, because
that takes the host's clock twice a step: in a call in which the run's number of steps
passes a multiple of SAMPLED_CALLS * steps_per_call, and in one that ends with a row of
steps.csv or with an epoch, so that each row and each epoch has a value. Only the flags
and the number of the step decide it, so that all workers measure the same calls.
"""

import numpy as np

SAMPLED_CALLS = 4


def is_sampled(first: int, last: int, steps_per_call: int) -> bool:
    """Returns whether a call from step `first` to step `last` measures its wait.

    Calls with a row and the last one of an epoch do so in any case.
    """
    interval = SAMPLED_CALLS * steps_per_call
    return first // interval < last // interval


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
        self._num_steps, self._seconds = 0, 0.0
        self._wait_s, self._sampled_s = 0.0, 0.0

    def add(self, waits: np.ndarray, seconds: float) -> None:
        """Adds a call.

        Args:
          waits: [K] seconds that each of its steps waited for input, or NaN if the
            call did not measure it.
          seconds: duration of the call.
        """
        self._num_steps += len(waits)
        self._seconds += seconds
        if not np.isnan(waits).any():
            self._wait_s += float(waits.sum())
            self._sampled_s += seconds

    def scalars(self) -> dict[str, float | None]:
        """Returns "images_per_second" of all calls, and "input_wait".

        The latter is a share of the measured calls' time in 0..1; None if no call was
        measured.
        """
        wait = self._wait_s / self._sampled_s if self._sampled_s else None
        return {
            "images_per_second": (
                self._num_steps * self._images_per_step / max(self._seconds, 1e-9)
            ),
            "input_wait": wait,
        }
