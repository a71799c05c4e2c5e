"""The parts of an array job: each does a share of the stored plan's shards.

Part K of N does the shards K, K + N, K + 2N, ... A part that is repeated skips what is
finished, and two that do one shard at once write the same bytes.
"""

import collections
import dataclasses
import logging
import pathlib
import time

from data_prep.build import claim
from data_prep.build import input_stamps
from data_prep.build import plan_store
from data_prep.build import publishing
from data_prep.build import shard_facts
from data_prep.build import source_inputs
from data_prep.build import work_folder
from data_prep.build.local_work import LocalWork
from data_prep.build.plan_store import PlanHead
from data_prep.config import ConvertConfig
from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core import remote
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.executors import code_hash

_FOLDER = "parts"
_AGAIN = "run --plan_only again"
_PLAN_FIRST = "run the same command with --plan_only instead of --part first"


def run(config: ConvertConfig) -> None:
    """Does the part that `config.placement` names, and says what it did.

    Raises:
      CommandError: there is no plan, or it is of other inputs or another configuration.
    """
    part, num_parts = config.placement.part
    with folder_lock.locked(config.output, shared=True):
        head = plan_store.read_head(config)
        if head is None:
            _end_without_plan(config)
            return
        config = _checked(config, head)
        mine = list(head.costs)[part::num_parts]
        if not mine:
            logging.info(
                "part %d/%d has nothing to do: the plan has %d shards",
                part,
                num_parts,
                len(head.costs),
            )
            return
        _refuse_replaced(config, mine)
        finished = shard_facts.finished(config)
        pending = [name for name in mine if name not in finished]
        _note(config, part, num_parts, has_ended=False)
        if pending:
            shards = [plan_store.read_shard(config, name) for name in pending]
            with LocalWork(config) as work:
                work.write(shards)
        _note(config, part, num_parts, has_ended=True)
        logging.info(
            "part %d/%d is done: %d of %d shards, %d written now and %d before; the "
            "same command without --part publishes when all parts are done",
            part,
            num_parts,
            len(mine),
            len(head.costs),
            len(pending),
            len(mine) - len(pending),
        )


def log_unfinished(config: ConvertConfig, names: list[str]) -> None:
    """Says which parts have left shards that this command is now going to write.

    Nothing is said where no part was begun.

    Args:
      config: the conversion.
      names: of all shards of the plan, in its order.
    """
    num_parts, ended = _begun(config)
    finished = shard_facts.finished(config)
    left = collections.Counter(
        k % num_parts
        for k, name in enumerate(names)
        if num_parts and name not in finished
    )
    if not left:
        return
    words = {None: "was not begun", False: "has not ended", True: "has ended"}
    shown = [f"{k}/{num_parts} ({words[ended.get(k)]})" for k in sorted(left)]
    logging.warning(
        "%d of %d shards are not finished, of %d part(s) %s; they are written here. "
        "Parts are counted from 0",
        left.total(),
        len(names),
        len(left),
        ", ".join(shown[:10]) + ", ..." * (len(shown) > 10),
    )


def forget(config: ConvertConfig) -> None:
    """Deletes the notes of parts; call it when a plan is made that they are not of."""
    remote.remove_tree(_folder(config))


def _end_without_plan(config: ConvertConfig) -> None:
    """Says that all is published, or refuses."""
    inputs = source_inputs.digest(config)
    if set(config.sizes) <= set(publishing.published_sizes(config, inputs)):
        logging.info("%s is already complete", config.output)
        return
    raise CommandError(
        ExitCode.FLAGS, f"{config.output} has no plan for a --part", fix=_PLAN_FIRST
    )


def _checked(config: ConvertConfig, head: PlanHead) -> ConvertConfig:
    """Returns the config with the sizes that are built, if the plan is of it."""
    durable.refuse_other_config(
        config.output, head.options, plan_store.options(config), fix=_AGAIN
    )
    if head.code != code_hash.of_this_machine():
        raise CommandError(
            ExitCode.CONFLICT,
            f"the plan in {config.output} was made by other code than this",
            fix=f"{_AGAIN} with this code",
        )
    sizes = claim.sizes_of(config, head.fingerprint)
    if not sizes or head.listing != source_inputs.listing_digest(config):
        raise CommandError(
            ExitCode.CONFLICT,
            f"the plan in {config.output} is of other inputs: a file or a csv was "
            "added, removed or changed",
            fix=_AGAIN,
        )
    if not set(sizes) <= set(config.sizes):
        raise CommandError(
            ExitCode.CONFLICT,
            f"the plan in {config.output} is of --sizes={_comma(sizes)}, asked was "
            f"--sizes={_comma(config.sizes)}",
            fix=f"give the same sizes, or {_AGAIN}",
        )
    return dataclasses.replace(config, sizes=sizes)


def _refuse_replaced(config: ConvertConfig, names: list[str]) -> None:
    """Refuses a plan whose films were replaced under the same names."""
    for name in names:
        files, stamps = plan_store.read_stamps(config, name)
        differing = input_stamps.differing(stamps, input_stamps.take(files))
        if differing:
            raise CommandError(
                ExitCode.CONFLICT,
                f"the plan in {config.output} is of other inputs: {len(differing)} "
                f"file(s) of {name} were replaced, the first is {differing[0]}",
                fix=_AGAIN,
            )


def _note(config: ConvertConfig, part: int, num_parts: int, *, has_ended: bool) -> None:
    """Writes down that a part has begun or ended."""
    path = _folder(config) / f"{part}-of-{num_parts}.json"
    value = {"part": part, "num_parts": num_parts, "has_ended": has_ended}
    durable.write_json(path, value | {"at": int(time.time())})


def _begun(config: ConvertConfig) -> tuple[int, dict[int, bool]]:
    """Returns the number of parts that was used last, and {part: whether it ended}."""
    paths = sorted(_folder(config).glob("*-of-*.json"))
    notes = [durable.read_json(p, fix=work_folder.OTHER_OUTPUT) for p in paths]
    last = max(notes, key=lambda note: note["at"], default={"num_parts": 0})
    num_parts = last["num_parts"]
    ended = {n["part"]: n["has_ended"] for n in notes if n["num_parts"] == num_parts}
    return num_parts, ended


def _folder(config: ConvertConfig) -> pathlib.Path:
    return work_folder.path(config) / _FOLDER


def _comma(sizes: tuple[int, ...]) -> str:
    return ",".join(map(str, sizes))
