"""How many cores this process may use."""


def available() -> int:
    """Returns the cores that affinity, cgroup quota and the host allow, at least 1.

    Slurm, containers and `taskset` allow fewer than the host has; additional workers
    would only wait for each other.
    """
    # Imported late: it takes a tenth of a second, and `--help` needs no count.
    import joblib

    return joblib.cpu_count()
