"""`.work/`: what a conversion writes down so that it can continue when it was stopped.

`plan.json` says what is being built. Each finished shard has a JSON file of its facts,
which `dataset.json` and the csvs are made from.
"""

import dataclasses
import pathlib

from data_prep.config import ConvertConfig
from data_prep.core import durable

_FOLDER = ".work"
OTHER_OUTPUT = "choose another --output, or delete this one"


@dataclasses.dataclass(frozen=True)
class Building:
    """What is being built; a conversion that goes on with another's work has its.

    Attributes:
      claim: sha256 of the file that claims the output, '' if there is none.
      plan: sha256 of the stored plan's head, '' if there is none.
    """

    claim: str
    plan: str


def path(config: ConvertConfig) -> pathlib.Path:
    """Returns the work folder of a conversion."""
    return config.output / _FOLDER


def claim_file(config: ConvertConfig) -> pathlib.Path:
    """Returns the file that says what is being built."""
    return path(config) / "plan.json"


def headers_path(config: ConvertConfig) -> pathlib.Path:
    """Returns the folder of what a cluster has read of headers, until it is planned."""
    return path(config) / "headers"


def plan_path(config: ConvertConfig) -> pathlib.Path:
    """Returns the folder of the stored plan."""
    return path(config) / "plan"


def plan_head(config: ConvertConfig) -> pathlib.Path:
    """Returns the file that says what the stored plan is of; it comes last."""
    return plan_path(config) / "plan.json"


def claim_digest(config: ConvertConfig) -> str:
    """Returns the sha256 of the file that says what is being built, '' without one."""
    return _digest(claim_file(config))


def building(config: ConvertConfig) -> Building:
    """Returns what is being built now."""
    return Building(claim_digest(config), _digest(plan_head(config)))


def _digest(file: pathlib.Path) -> str:
    try:
        return durable.sha256(file)
    except (FileNotFoundError, NotADirectoryError):
        return ""


def with_absolute_paths(config: ConvertConfig) -> ConvertConfig:
    """Returns a config of which other processes and machines see the same files.

    A conversion on this machine alone keeps its paths as they were given, unless it
    goes on with a stored plan: its messages and its quarantine.csv name them.
    """
    placement = config.placement
    shares = placement.cluster or placement.part or placement.plan_only
    if not shares and not plan_head(config).exists():
        return config
    paths = {
        field.name: getattr(config, field.name).absolute()
        for field in dataclasses.fields(config)
        if isinstance(getattr(config, field.name), pathlib.Path)
    }
    for name in ("label_csv", "fold_lists"):
        paths[name] = tuple(_absolute(p) for p in getattr(config, name))
    return dataclasses.replace(config, **paths)


def _absolute(path: pathlib.Path) -> pathlib.Path:
    # An address of an object store is absolute as it is.
    return path.absolute() if isinstance(path, pathlib.Path) else path
