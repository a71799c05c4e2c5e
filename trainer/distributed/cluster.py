"""The worker processes that train one model; a single process is a cluster of one.

The environment variable TF_CONFIG tells each worker about the others, as TensorFlow
documents it for MultiWorkerMirroredStrategy; trainer/distributed/slurm.py makes it of
what Slurm says. All workers see the same dataset folder and the same run folder; only
the chief writes to it.
"""

import dataclasses
import hashlib
import os
import re

import numpy as np
import tensorflow as tf

from data_prep.core import json_text
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.distributed.slurm import VARIABLE

_JOBS = ("chief", "worker")
# A name, an IPv4 address or an IPv6 one in brackets, and a port.
_HOST = r"(\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[\w.-]{1,255})"
_ADDRESS = re.compile(rf"{_HOST}:(\d{{1,5}})", re.ASCII)


@dataclasses.dataclass(frozen=True)
class WorkerRank:
    """This process's number among the workers.

    Attributes:
      index: counted from 0; worker 0 is the chief.
      num_workers: number of workers.
    """

    index: int = 0
    num_workers: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run folder."""
        return self.index == 0

    def share(self, batch_size: int) -> tuple[int, int]:
        """Returns start and stop of this worker's slice of a global batch."""
        size = batch_size // self.num_workers
        return self.index * size, (self.index + 1) * size


SINGLE = WorkerRank()


def worker_rank(strategy: str) -> WorkerRank:
    """Reads this process's rank from TF_CONFIG.

    Args:
      strategy: see `--strategy`; "single" and "mirrored" ignore TF_CONFIG, "auto"
        uses it if it is set.

    Raises:
      CommandError: TF_CONFIG is missing, or does not name this process.
    """
    text = os.environ.get(VARIABLE, "")
    if strategy not in ("auto", "multi_worker") or (strategy == "auto" and not text):
        return SINGLE
    try:
        addresses = _addresses(text)
        task = json_text.loads(text)["task"]
        rank = list(addresses).index((task["type"], int(task["index"])))
        return WorkerRank(rank, len(addresses))
    # int of a number that is too large is the last.
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as e:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"{VARIABLE}={text[:200]!r} does not name the workers and this one ({e})",
            fix='set it like {"cluster": {"worker": ["host0:2222", "host1:2222"]}, '
            '"task": {"type": "worker", "index": 0}}, start it by srun of Slurm, or '
            "give --strategy=mirrored",
        ) from e


def chief_host() -> str:
    """Returns name or address of worker 0's machine, of a TF_CONFIG that is valid."""
    first = next(iter(_addresses(os.environ[VARIABLE]).values()))
    return first.rpartition(":")[0].strip("[]")


def _addresses(text: str) -> dict[tuple[str, int], str]:
    """Returns {(job, index): host:port} of all workers, in the order of their ranks.

    Raises:
      ValueError, KeyError, TypeError, AttributeError: that is not what `text` has.
    """
    cluster = json_text.loads(text)["cluster"]
    found = {
        (job, k): address
        for job in _JOBS
        for k, address in enumerate(_listed(cluster.get(job, [])))
    }
    for address in found.values():
        match = _ADDRESS.fullmatch(address)
        if not match or not 0 < int(match[2]) < 1 << 16:
            raise ValueError(f"{address[:80]!r} is no host:port")
    if len(set(found.values())) < len(found):
        raise ValueError("two workers have one address")
    return found


def _listed(value: object) -> list:
    if not isinstance(value, list):
        raise TypeError("a job is a list of addresses")
    return value


class Cluster:
    """Exchanges values other than gradients between workers; a single one has none.

    Args:
      strategy: the distribution strategy of this process.
      rank: the rank of this process.
    """

    def __init__(self, strategy: tf.distribute.Strategy, rank: WorkerRank):
        self._strategy, self._rank = strategy, rank

    def distribute(self, data: tf.data.Dataset) -> tf.distribute.DistributedDataset:
        """Distributes this worker's share of each batch to its replicas."""
        if self._rank.num_workers == 1:
            return self._strategy.experimental_distribute_dataset(data)
        if self._replicas > 1:
            share = next(iter(tf.nest.flatten(data.element_spec))).shape[0]
            data = data.rebatch(share // self._replicas, drop_remainder=True)
        return self._strategy.distribute_datasets_from_function(lambda _: data)

    def gathered(self, values: np.ndarray) -> np.ndarray:
        """Concatenates [N, ...] arrays of all workers along the first axis.

        All workers must call it at the same point of the program. Floats come back as
        float64, integers as int64, and bool as bool.
        """
        if self._rank.num_workers == 1:
            return values
        wide = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
        empty = wide[:0]
        local = self._strategy.experimental_distribute_values_from_function(
            # The first replica of each worker holds all its values: the order stays.
            lambda c: tf.constant(
                empty if c.replica_id_in_sync_group % self._replicas else wide
            )
        )
        joined = self._strategy.gather(local, axis=0).numpy()
        return joined.astype(bool) if values.dtype == bool else joined

    def any(self, flag: bool) -> bool:
        """Returns whether the flag is set in any worker."""
        return bool(self.gathered(np.array([flag])).any())

    def meet(self) -> None:
        """Waits for all workers: one that exits early would make the others fail."""
        self.any(False)

    def check_same(
        self,
        text: str,
        *,
        what: str = "the workers were started with different flags or datasets",
        fix: str = "start all of them with the same flags",
    ) -> None:
        """Raises a CommandError in all workers unless `text` is equal in all."""
        digest = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)
        digests = self.gathered(digest[np.newaxis])
        if not (digests == digests[0]).all():
            raise CommandError(ExitCode.CONFLICT, what, fix=fix)

    @property
    def _replicas(self) -> int:
        return self._strategy.num_replicas_in_sync // self._rank.num_workers
