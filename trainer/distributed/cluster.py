"""The processes that train one member together; one alone is a cluster too.

Several are told of each other by the variable TF_CONFIG, as TensorFlow documents
it for MultiWorkerMirroredStrategy. All of them see the same dataset folder and
the same run folder, into which the first of them alone writes.
"""

import dataclasses
import hashlib
import json
import os

import numpy as np
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode

_VARIABLE = "TF_CONFIG"
_JOBS = ("chief", "worker")


@dataclasses.dataclass(frozen=True)
class WorkerRank:
    """Which of the processes this one is.

    Attributes:
      index: counted from 0; process 0 is the one that writes.
      num_workers: how many there are.
    """

    index: int = 0
    num_workers: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run folder."""
        return self.index == 0

    def share(self, batch_size: int) -> tuple[int, int]:
        """Returns begin and end of this process's places in a global batch."""
        size = batch_size // self.num_workers
        return self.index * size, (self.index + 1) * size


SINGLE = WorkerRank()


def place(strategy: str) -> WorkerRank:
    """Reads this process's place from TF_CONFIG.

    Args:
      strategy: as `--strategy`; "single" and "mirrored" are always alone, "auto" is
        where there is no TF_CONFIG.

    Raises:
      CommandError: TF_CONFIG is missing, or does not name this process.
    """
    text = os.environ.get(_VARIABLE, "")
    if strategy not in ("auto", "multi_worker") or (strategy == "auto" and not text):
        return SINGLE
    try:
        given = json.loads(text)
        jobs = [
            (job, k) for job in _JOBS for k in range(len(given["cluster"].get(job, [])))
        ]
        task = given["task"]
        return WorkerRank(jobs.index((task["type"], int(task["index"]))), len(jobs))
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"{_VARIABLE}={text[:200]!r} does not name the workers and this one",
            fix='set it like {"cluster": {"worker": ["host0:2222", "host1:2222"]}, '
            '"task": {"type": "worker", "index": 0}}, or give --strategy=mirrored',
        ) from e


class Cluster:
    """What the processes exchange beside gradients; nothing if there is one.

    Args:
      strategy: of this process.
      place: of this process.
    """

    def __init__(self, strategy: tf.distribute.Strategy, place: WorkerRank):
        self._strategy, self._place = strategy, place

    def distribute(self, data: tf.data.Dataset) -> tf.distribute.DistributedDataset:
        """Deals this process's share of each batch out to its replicas."""
        if self._place.num_workers == 1:
            return self._strategy.experimental_distribute_dataset(data)
        if self._replicas > 1:
            share = next(iter(tf.nest.flatten(data.element_spec))).shape[0]
            data = data.rebatch(share // self._replicas, drop_remainder=True)
        return self._strategy.distribute_datasets_from_function(lambda _: data)

    def gathered(self, values: np.ndarray) -> np.ndarray:
        """Joins [N, ...] arrays of all processes along their first axis.

        Every process must call it at the same place. Floats come back as float64,
        whole numbers as int64, and truth values as bool.
        """
        if self._place.num_workers == 1:
            return values
        kind = np.float64 if values.dtype.kind == "f" else np.int64
        given = values.astype(kind)
        nothing = given[:0]
        local = self._strategy.experimental_distribute_values_from_function(
            # All by the first replica of the process: the order stays.
            lambda c: tf.constant(
                nothing if c.replica_id_in_sync_group % self._replicas else given
            )
        )
        joined = self._strategy.gather(local, axis=0).numpy()
        return joined.astype(bool) if values.dtype == bool else joined

    def any(self, flag: bool) -> bool:
        """Tells whether the flag is set in any process."""
        return bool(self.gathered(np.array([flag])).any())

    def meet(self) -> None:
        """Waits for all processes: one that ends pulls down those that still work."""
        self.any(False)

    def check_same(self, text: str) -> None:
        """Raises a CommandError in all processes unless `text` is the same in all."""
        digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
        found = self.gathered(digest[np.newaxis])
        if not (found == found[0]).all():
            raise CommandError(
                ExitCode.CONFLICT,
                "the workers were started with different flags or datasets",
                fix="start all of them with the same flags",
            )

    @property
    def _replicas(self) -> int:
        return self._strategy.num_replicas_in_sync // self._place.num_workers
