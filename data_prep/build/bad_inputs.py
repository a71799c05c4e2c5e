"""What a conversion does about bad inputs: shows them, and refuses too many."""

import logging

from data_prep.build import reasons
from data_prep.build.plan import PlannedShard
from data_prep.build.shard_facts import ShardFacts
from data_prep.config import ConvertConfig
from data_prep.core.errors import OF_THE_MACHINE
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.errors import InputError
from data_prep.source import quarantine
from data_prep.source.quarantine import Quarantine


def none_yet(config: ConvertConfig) -> Quarantine:
    """Returns an empty quarantine for the folders of a conversion."""
    return Quarantine(
        *filter(None, [config.source, config.mask_source, config.test_source])
    )


def add_rejected(
    planned: list[PlannedShard], facts: dict[str, ShardFacts], bad: Quarantine
) -> int:
    """Quarantines what decoding refused; returns how many inputs it were."""
    for shard in planned:
        paths = {task.image_id: task.file.shown for task in shard.tasks}
        for image_id, (code, reason, fix) in facts[shard.name].rejected.items():
            bad.add(paths[image_id], InputError(code, reason, fix=fix))
    return sum(len(shard_facts.rejected) for shard_facts in facts.values())


def refuse(
    config: ConvertConfig, num_planned: int, bad: Quarantine, num_rejected: int = 0
) -> None:
    """Refuses too many bad inputs after their reasons were shown."""
    try:
        refuse_too_many(config, num_planned, bad, num_rejected)
    except CommandError:
        show(config, bad)
        raise


def show(config: ConvertConfig, bad: Quarantine) -> None:
    """Writes and logs why inputs are bad, for a conversion that ends there."""
    bad.write(config.output)
    reasons.log(bad.rows())


def refuse_too_many(
    config: ConvertConfig, num_planned: int, bad: Quarantine, num_rejected: int = 0
) -> None:
    """Refuses too many bad inputs.

    Args:
      config: the conversion.
      num_planned: how many images are planned.
      bad: the bad inputs.
      num_rejected: how many of them are in the plan, too, since decoding refused them.

    Raises:
      CommandError: they are too many.
    """
    num_inputs = num_planned + len(bad) - num_rejected
    if len(bad) > config.max_bad_fraction * num_inputs:
        raise CommandError(
            ExitCode.TOO_MANY_BAD,
            f"{len(bad)} of {num_inputs} inputs are bad; nothing was published",
            fix="fix them or raise --max_bad_fraction",
        )


def warn_of_this_machine(config: ConvertConfig) -> None:
    """Logs that a published output lacks inputs that another try might convert."""
    codes = {row[1] for row in quarantine.read(config.output)} & OF_THE_MACHINE
    if codes:
        logging.warning(
            "%s lacks inputs for reasons that may have passed (%s); convert to another "
            "--output to try them again",
            config.output,
            ", ".join(sorted(codes)),
        )


def exit_code(config: ConvertConfig, rows: list[quarantine.Row]) -> ExitCode:
    """Returns DONE, or QUARANTINED where more inputs are bad than allowed for."""
    if len(rows) > config.allow_quarantined:
        return ExitCode.QUARANTINED
    return ExitCode.DONE
