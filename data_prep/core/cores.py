"""How many cores this process may use."""

import math

from data_prep.core import cgroup


def available() -> int:
    """Returns the cores that affinity, cgroup quota and the host allow, at least 1.

    Slurm, containers and `taskset` allow fewer than the host has; additional workers
    would only wait for each other.
    """
    # Imported late: it takes a tenth of a second, and `--help` needs no count.
    import joblib

    # joblib looks at the root's quota only, and a job's group may be below it.
    quota = cgroup.cpu_quota()
    count = joblib.cpu_count()
    return count if quota is None else max(1, min(count, math.ceil(quota)))
