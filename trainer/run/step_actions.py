"""What happens around calls of the training graph; a call is one or more steps."""

import dataclasses
import logging
import math
import pathlib

import numpy as np
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.config import Execution
from trainer.run.metric_writers import Kind
from trainer.run.metric_writers import MetricWriter
from trainer.run.throughput import Throughput


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepCall:
    """One finished call of the training graph.

    Attributes:
      last_step: number of steps of the run that are done after it.
      epoch: the epoch, counted from 1.
      learning_rate: the rate of this epoch.
      losses: [K] losses of its steps.
      waits: [K] seconds that each step waited for input; NaN if not measured.
      gradient_norm: of its last step, if an action needed it, else NaN.
      skipped_steps: number of steps of the epoch so far that changed no weight, because
        they overflowed float16.
      loss_scale: the loss scale after the call; 1 without loss scaling.
      seconds: duration of the call.
    """

    last_step: int
    epoch: int
    learning_rate: float
    losses: np.ndarray
    waits: np.ndarray
    gradient_norm: float
    skipped_steps: int
    loss_scale: float
    seconds: float


class StepAction:
    """An action before or after calls; steps are counted over the whole run.

    All workers must ask for the same stops and norms, whichever of them writes: a call
    is a collective operation.
    """

    def next_stop(self, step: int) -> float:
        """Returns the number of steps, above `step`, at which a call must end."""
        del step
        return math.inf

    def needs_norm(self, step: int) -> bool:
        """Returns whether a call that ends with `step` computes the gradient's norm."""
        del step
        return False

    def before_call(self, step: int) -> None:
        """Runs when `step` steps are done."""

    def after_call(self, call: StepCall) -> None:
        """Runs after a call that has not diverged."""

    def close(self) -> None:
        """Runs when training ends, also by an error."""


class WriteMetrics(StepAction):
    """Writes a row of metrics after every N-th step.

    Loss and gradient norm are those of that step, skipped steps those of its epoch so
    far; speed is of the steps since the row before, or since this process started.

    Args:
      writer: receives the rows.
      every: N, or 0 for no rows.
      images_per_step: the global batch size.
    """

    def __init__(self, writer: MetricWriter, every: int, images_per_step: int):
        self._writer, self._every = writer, every
        self._throughput = Throughput(images_per_step)

    def next_stop(self, step: int) -> float:
        return (step // self._every + 1) * self._every if self._every else math.inf

    def needs_norm(self, step: int) -> bool:
        return bool(self._every) and step % self._every == 0

    def after_call(self, call: StepCall) -> None:
        self._throughput.add(call.waits, call.seconds)
        if not self.needs_norm(call.last_step):
            return
        scalars = {
            "epoch": call.epoch,
            "learning_rate": call.learning_rate,
            "loss": float(call.losses[-1]),
            "gradient_norm": call.gradient_norm,
            "skipped_steps": call.skipped_steps,
            "loss_scale": call.loss_scale,
            **self._throughput.scalars(),
        }
        self._writer.write(call.last_step, scalars, Kind.STEP)
        self._throughput.reset()


class Profile(StepAction):
    """Writes a TensorFlow profiler trace of some steps.

    Args:
      steps: first and last step to trace, counted from 1; None for no trace.
      folder: TensorBoard's folder, or None if another worker writes.
    """

    def __init__(self, steps: tuple[int, int] | None, folder: pathlib.Path | None):
        self._first, self._last = steps or (math.inf, -math.inf)
        self._folder, self._running = folder, False
        self._awaited = steps is not None

    def next_stop(self, step: int) -> float:
        # A call ends before the first step and after the last one.
        stops = [s for s in (self._first - 1, self._last) if s > step]
        return min(stops, default=math.inf)

    def before_call(self, step: int) -> None:
        due = self._first - 1 <= step < self._last
        if due and self._folder and not self._running:
            tf.profiler.experimental.start(str(self._folder))
            self._running = True
            self._awaited = False
            logging.info("profiling steps %d to %d", step + 1, self._last)
        if self._awaited and step >= self._last:
            self._awaited = False
            logging.warning(
                "no trace: steps %d to %d were done before this start",
                self._first,
                self._last,
            )

    def after_call(self, call: StepCall) -> None:
        if call.last_step >= self._last:
            self.close()

    def close(self) -> None:
        if self._running:
            tf.profiler.experimental.stop()
            self._running = False


def check_profile_steps(execution: Execution, num_steps: int) -> None:
    """Raises a CommandError if a run of `num_steps` has not all steps to trace."""
    if execution.profiled_steps and execution.profiled_steps[1] > num_steps:
        raise CommandError(
            ExitCode.FLAGS,
            f"--profile_steps={execution.profile_steps} goes beyond the {num_steps} "
            "steps of the run",
            fix="choose earlier steps",
        )
