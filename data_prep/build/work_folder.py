"""`.work/`: what a conversion writes down so that it can continue when it was stopped.

`plan.json` says what is being built. Each finished shard has a JSON file of its facts,
which `dataset.json` and the csvs are made from.
"""

import dataclasses
import logging
import pathlib
from collections.abc import Collection

from data_prep.build import input_stamps
from data_prep.build import plan
from data_prep.build.plan import Plan
from data_prep.config import ConvertConfig
from data_prep.core import durable
from data_prep.core.errors import OF_THE_MACHINE

_FOLDER = ".work"
_PLAN = "plan.json"
_STAMPS = "inputs.json"
_HEADERS = "headers"
OTHER_OUTPUT = "choose another --output, or delete this one"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One file of a shard: its records at one size.

    Attributes:
      num_records: how many records it holds.
      num_bytes: its size.
      sha256: of its bytes.
      sums: sum of all intensities and sum of their squares, both exact.
    """

    num_records: int
    num_bytes: int
    sha256: str
    sums: tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """What became of the images of one shard.

    Attributes:
      sources: {image id: sha256 of its source file}, in the order of the records.
      pixels: {image id: sha256 of one of its images}.
      looks: {image id: perceptual hash of its largest image}.
      rejected: {image id: (code, reason, fix)} of images that could not be decoded.
      files: {size in pixels: the file of that size}.
      notices: {image id: codes}, of the images that have any.
    """

    sources: dict[str, str]
    pixels: dict[str, str]
    looks: dict[str, str]
    rejected: dict[str, tuple[str, str, str]]
    files: dict[int, FileFacts]
    notices: dict[str, tuple[str, ...]]


def path(config: ConvertConfig) -> pathlib.Path:
    """Returns the work folder of a conversion."""
    return config.output / _FOLDER


def headers_path(config: ConvertConfig) -> pathlib.Path:
    """Returns the folder of what a cluster has read of headers, until it is planned."""
    return path(config) / _HEADERS


def with_absolute_paths(config: ConvertConfig) -> ConvertConfig:
    """Returns a config of which other processes and machines see the same files.

    A conversion on this machine alone keeps its paths as they were given, unless it
    goes on with a stored plan: its messages and its quarantine.csv name them.
    """
    placement = config.placement
    shares = placement.cluster or placement.part or placement.plan_only
    if not shares and not (path(config) / "plan" / "plan.json").exists():
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


def claim(config: ConvertConfig, planned: Plan) -> None:
    """Writes down what is being built; drops finished shards of replaced files.

    Raises:
      CommandError: another conversion has finished shards, or stored its plan, in the
        same output folder.
    """
    plan_file = path(config) / _PLAN
    wanted = durable.to_jsonable(
        {
            "sizes": config.sizes,
            **config.options(0),
            "inputs": plan.fingerprint(planned.shards),
        }
    )
    if plan_file.exists() and _holds_work(config):
        stored = durable.read_json(plan_file, fix=OTHER_OUTPUT)
        durable.refuse_other_config(config.output, stored, wanted, fix=OTHER_OUTPUT)
        _drop_replaced(config, planned)
        _drop_refused_here(config, planned)
    input_stamps.write(path(config) / _STAMPS, planned.stamps)
    durable.write_json(plan_file, wanted)


def _holds_work(config: ConvertConfig) -> bool:
    """Returns whether another conversion would lose anything: a shard, or a plan."""
    has_plan = (path(config) / "plan").exists()
    return has_plan or any(path(config).glob("*.tfrecord-*.json"))


def _drop_refused_here(config: ConvertConfig, planned: Plan) -> None:
    """Drops the facts of shards that lack a film because of the machine, not the film.

    What was missing may be there by now: a decoder, memory, a permission.
    """
    for shard in planned.shards:
        if has_facts(config, shard.name):
            refused = read_facts(config, shard.name).rejected.values()
            if any(code in OF_THE_MACHINE for code, *_ in refused):
                _facts_file(config, shard.name).unlink()


def _drop_replaced(config: ConvertConfig, planned: Plan) -> None:
    """Drops the facts of finished shards that were made from other bytes."""
    stored = input_stamps.read(path(config) / _STAMPS)
    key_of = {file: key for key, file in planned.files.items()}
    finished = [s for s in planned.shards if has_facts(config, s.name)]
    hashes, keys_of = {}, {}
    for shard in finished:
        sources = read_facts(config, shard.name).sources
        keys = keys_of[shard.name] = set()
        for task in shard.tasks:
            keys |= {key_of[f] for f in (task.file, task.mask_file) if f}
            hashes[key_of[task.file]] = sources.get(task.image_id, "")
    stored = {k: (*s[:2], s[2] or hashes.get(k, "")) for k, s in stored.items()}
    differing = set(input_stamps.differing(stored, planned.stamps))
    differing &= set().union(*keys_of.values())
    replaced = input_stamps.replaced(stored, sorted(differing), planned.files)
    again = [s for s in finished if not keys_of[s.name].isdisjoint(replaced)]
    for shard in again:
        _facts_file(config, shard.name).unlink()
    if again:
        logging.warning(
            "%d input(s) were replaced since this conversion was stopped, the first is "
            "%s; %d finished shard(s) are written again",
            len(replaced),
            replaced[0],
            len(again),
        )


def sizes_to_build(
    config: ConvertConfig, published: Collection[int]
) -> tuple[int, ...]:
    """Returns the sizes that are missing, or those that a stopped run was making."""
    missing = tuple(size for size in config.sizes if size not in published)
    plan_file = path(config) / _PLAN
    if plan_file.exists():
        begun = tuple(durable.read_json(plan_file, fix=OTHER_OUTPUT).get("sizes", ()))
        # A run that was stopped while it published has made some of them.
        if set(missing) <= set(begun) <= set(config.sizes):
            return begun
    return missing


def sizes_of(config: ConvertConfig, fingerprint: str) -> tuple[int, ...]:
    """Returns the sizes that are being built of a plan, () if another one is."""
    plan_file = path(config) / _PLAN
    claimed = plan_file.exists() and durable.read_json(plan_file, fix=OTHER_OUTPUT)
    if not claimed or claimed["inputs"] != fingerprint:
        return ()
    return tuple(claimed["sizes"])


def has_facts(config: ConvertConfig, name: str) -> bool:
    """Returns whether a shard was finished, by this run or an earlier one."""
    return _facts_file(config, name).exists()


def is_wanted(config: ConvertConfig, name: str) -> bool:
    """Returns whether a shard is still to be written, of a conversion that goes on."""
    return (path(config) / _PLAN).exists() and not has_facts(config, name)


def drop_mixed(config: ConvertConfig, facts: dict[str, ShardFacts]) -> list[str]:
    """Drops the facts of shards whose files are those of another attempt.

    Two attempts write the same bytes, unless only one of them refused a film: for lack
    of memory or time, say. Call it only when no attempt can replace a file any more.

    Args:
      config: the conversion.
      facts: {shard name: its facts}.

    Returns:
      The names of these shards, which are to be written again.
    """
    mixed = [
        name
        for name, of_shard in facts.items()
        if not all(
            _is_file_of(config.output / str(size) / name, file, of_shard.rejected)
            for size, file in of_shard.files.items()
        )
    ]
    for name in mixed:
        _facts_file(config, name).unlink()
    if mixed:
        logging.warning(
            "%d shard(s) were written twice at once with different outcomes, and are "
            "written again; the first is %s",
            len(mixed),
            mixed[0],
        )
    return mixed


def _is_file_of(file: pathlib.Path, facts: FileFacts, rejected: Collection) -> bool:
    if not file.exists() or file.stat().st_size != facts.num_bytes:
        return False
    # Two attempts that refused different films may have written as many bytes.
    return not rejected or durable.sha256(file) == facts.sha256


def write_facts(config: ConvertConfig, name: str, facts: ShardFacts) -> None:
    """Writes the facts of a finished shard."""
    durable.write_json(_facts_file(config, name), dataclasses.asdict(facts))


def read_facts(config: ConvertConfig, name: str) -> ShardFacts:
    """Reads what `write_facts` wrote."""
    stored = durable.read_json(_facts_file(config, name), fix=OTHER_OUTPUT)
    files = {int(size): FileFacts(**file) for size, file in stored["files"].items()}
    return ShardFacts(**stored | {"files": files})


def _facts_file(config: ConvertConfig, name: str) -> pathlib.Path:
    return path(config) / f"{name}.json"
