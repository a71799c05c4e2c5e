"""Trains the members of an ensemble at once, on the machines of a cluster."""

import contextlib
import logging
import pathlib
import time

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.core.progress import Tracker
from data_prep.executors import choose
from data_prep.executors.executor import Executor
from data_prep.executors.executor import Resources
from trainer.config import CrossValidation
from trainer.run import member_unit
from trainer.run import run_folder
from trainer.run.member_unit import Member

# Network shares show a new file to other machines after up to a minute.
_SECONDS_TO_APPEAR = 120


def train(config: CrossValidation, members: list[Member]) -> ExitCode:
    """Trains members until all are trained or one has stopped.

    When one stops, or this command is interrupted, all others save their state and
    stop, too.

    Args:
      config: its placement is a cluster.
      members: of which none is finished.

    Returns:
      DONE, or the exit code of the member that has stopped.

    Raises:
      CommandError: the cluster cannot be used, see `choose.executor`, has no GPU that
        is required, or does not share the folder; or a member has crashed.
    """
    shared = [config.output.absolute(), config.data.absolute()]
    with choose.executor(config.placement, shared=shared) as executor:
        resources = _resources(config, executor)
        logging.info(
            "%d members train on the cluster, each on %s; their logs are %s",
            len(members),
            _named(resources),
            config.output / "*" / member_unit.LOG,
        )
        ends = executor.run(
            member_unit.train, members, cost_of=lambda _: 1.0, resources=resources
        )
        with (
            # However this ends, those that still train are told to stop.
            contextlib.closing(ends),
            Tracker("train", len(members), unit="members") as tracker,
        ):
            for member, text in ends:
                code = _exit_code(member, int(text))
                if code:
                    return code
                _wait_for_result(member.folder)
                logging.info("member %s is trained", member.folder.name)
                tracker.advance(note=executor.note())
    return ExitCode.DONE


def _resources(config: CrossValidation, executor: Executor) -> Resources:
    """Returns what each member occupies."""
    count = config.gpus_per_member
    device = executor.devices(gpus=count != 0)
    if config.require_gpu and not device.num_gpus:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            "--require_gpu is set, and the members would get no GPU of the cluster",
            fix="start Ray on machines with GPUs, or leave out --require_gpu",
        )
    if count:
        share = device.num_cpus if device.num_gpus else 1
        return Resources(num_cpus=share * count, num_gpus=count)
    return device


def _named(resources: Resources) -> str:
    if resources.num_gpus:
        return f"{resources.num_gpus} GPU{'s' * (resources.num_gpus > 1)}"
    return f"{resources.num_cpus} core{'s' * (resources.num_cpus > 1)}"


def _exit_code(member: Member, code: int) -> ExitCode:
    if code not in set(ExitCode):
        raise CommandError(
            ExitCode.BUG,
            f"member {member.folder.name} ended with status {code}",
            fix=f"see {member.folder / member_unit.LOG}; the same command goes on "
            "from there",
        )
    if code:
        logging.error(
            "member %s ended with exit code %d; see %s",
            member.folder.name,
            code,
            member.folder / member_unit.LOG,
        )
    return ExitCode(code)


def _wait_for_result(folder: pathlib.Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_APPEAR
    while not (folder / run_folder.RESULT).exists():
        if time.monotonic() > deadline:
            raise CommandError(
                ExitCode.ENVIRONMENT,
                f"{folder} was trained on another machine, and its "
                f"{run_folder.RESULT} is not here",
                fix="give an --output that all machines share",
            )
        time.sleep(0.5)
