"""Makes TF_CONFIG of the variables that Slurm's srun gives to each of its tasks.

TensorFlow's SlurmClusterResolver is not used: it sorts the nodes by name, where Slurm
numbers them in the order of its list, it knows one pair of brackets in a name, gives
all jobs the same ports, and fails on nodes without GPUs.
"""

import dataclasses
import itertools
import json
import logging
import os
import re
from collections.abc import Iterator
from collections.abc import Mapping

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from trainer.distributed import slurm_gpus

VARIABLE = "TF_CONFIG"
# Below the ports that Linux gives to connections, which begin at 32768.
_FIRST_PORT, _LAST_PORT = 10_000, 32_000
# Two jobs on one node seldom have numbers that are so far apart that they meet.
_PORTS_OF_A_STEP = 32
_START = "start it as `srun python -m trainer.main ...`"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """The tasks of one srun, and which of them this process is.

    Attributes:
      nodes: names of the nodes, in Slurm's order.
      tasks: number of tasks on each node.
      node: this task's node, counted from 0.
      local: this task's number among those of its node, counted from 0.
      port: of the first task on each node; task k has this port and k more.
    """

    nodes: tuple[str, ...]
    tasks: tuple[int, ...]
    node: int
    local: int
    port: int

    @property
    def index(self) -> int:
        """This task's number as a worker, counted from 0 along the nodes.

        It is SLURM_PROCID, unless srun distributes the tasks in another order.
        """
        return sum(self.tasks[: self.node]) + self.local

    def tf_config(self) -> str:
        """Returns the value of TF_CONFIG, in which worker 0 is on the first node."""
        workers = [
            f"{name}:{self.port + k}"
            for name, count in zip(self.nodes, self.tasks, strict=True)
            for k in range(count)
        ]
        task = {"type": "worker", "index": self.index}
        return json.dumps({"cluster": {"worker": workers}, "task": task})


def set_up(strategy: str) -> None:
    """Sets TF_CONFIG of this process if --strategy=multi_worker is given inside srun.

    Where Slurm gives all GPUs of a node to each of its tasks, CUDA_VISIBLE_DEVICES is
    set as well. Call it before TensorFlow looks for devices. A TF_CONFIG that is set
    stays as it is.

    Args:
      strategy: see `--strategy`. With auto nothing is set, because the tasks of an srun
        may train a member each; a log line says so.

    Raises:
      CommandError: variables of Slurm are missing or contradict each other.
    """
    if strategy not in ("auto", "multi_worker") or os.environ.get(VARIABLE):
        return
    if strategy == "auto":
        _tell_of_others(os.environ)
        return
    step = read(os.environ)
    if not step:
        return
    os.environ[VARIABLE] = step.tf_config()
    gpus = slurm_gpus.set_visible(os.environ, step.tasks[step.node], step.local)
    logging.info(
        "Slurm: worker %d of %d, on %s (node %d of %d), port %d%s",
        step.index,
        sum(step.tasks),
        step.nodes[step.node],
        step.node + 1,
        len(step.nodes),
        step.port + step.local,
        f"; {gpus}" if gpus else "",
    )


def read(environ: Mapping[str, str]) -> Step | None:
    """Returns the step of srun that the variables describe; None outside of Slurm.

    Raises:
      CommandError: variables are missing or contradict each other, or this is a batch
        script itself, which Slurm starts once for all tasks.
    """
    if "SLURM_JOB_ID" not in environ and "SLURM_PROCID" not in environ:
        return None
    # A batch script has SLURM_NTASKS and SLURM_PROCID, too, but is no step.
    if "SLURM_STEP_TASKS_PER_NODE" not in environ:
        raise CommandError(
            ExitCode.ENVIRONMENT,
            "this is a job of Slurm, and not a task of srun "
            "(SLURM_STEP_TASKS_PER_NODE is not set)",
            fix=_START,
        )
    nodes = _text(environ, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST")
    tasks = _text(environ, "SLURM_STEP_TASKS_PER_NODE")
    job = _number(environ, "SLURM_JOB_ID") + _number(environ, "SLURM_STEP_ID", "0")
    num_slots = (_LAST_PORT - _FIRST_PORT) // _PORTS_OF_A_STEP
    try:
        step = Step(
            nodes=tuple(expand_nodes(nodes)),
            tasks=tuple(expand_counts(tasks)),
            node=_number(environ, "SLURM_NODEID"),
            local=_number(environ, "SLURM_LOCALID"),
            port=_FIRST_PORT + _PORTS_OF_A_STEP * (job % num_slots),
        )
    except ValueError as e:
        raise _contradiction(str(e)) from e
    _check(step, environ)
    return step


def expand_nodes(text: str) -> Iterator[str]:
    """Yields the names of a list of nodes, such as gpu[001-003,007],login1.

    The grammar is that of `scontrol show hostnames`: ranges keep leading zeros, and a
    name may have several brackets, of which the last changes fastest.

    Raises:
      ValueError: the text is not such a list.
    """
    # At commas outside of brackets.
    for part in re.split(r",(?![^[]*\])", text):
        pieces = re.findall(r"\[([^][]+)\]|([^][,]+)", part)
        whole = "".join(f"[{r}]" if r else plain for r, plain in pieces)
        if not part or whole != part:
            raise ValueError(f"{text!r} is not a list of nodes")
        choices = [_numbers(r) if r else [plain] for r, plain in pieces]
        yield from map("".join, itertools.product(*choices))


def expand_counts(text: str) -> Iterator[int]:
    """Yields the numbers of tasks on each node, such as 2(x3),1 for 2, 2, 2, 1.

    Raises:
      ValueError: the text is not such a list.
    """
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if not match:
            raise ValueError(f"{text!r} is not a list of numbers of tasks")
        yield from itertools.repeat(int(match[1]), int(match[2] or 1))


def _numbers(text: str) -> list[str]:
    """Returns the numbers of a pair of brackets, such as 001-003,007."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"[{text}] is not a list of ranges of numbers")
        first, last = int(match[1]), int(match[2] or match[1])
        found += [str(k).zfill(len(match[1])) for k in range(first, last + 1)]
    return found


def _check(step: Step, environ: Mapping[str, str]) -> None:
    """Raises a CommandError unless all variables describe one step."""
    if len(step.nodes) != len(step.tasks):
        raise _contradiction(
            f"there are {len(step.nodes)} nodes, and numbers of tasks of "
            f"{len(step.tasks)}"
        )
    count = sum(step.tasks)
    told = _number(environ, "SLURM_STEP_NUM_TASKS", environ.get("SLURM_NTASKS"))
    if told != count:
        raise _contradiction(f"there are {told} tasks, and {count} on all nodes")
    if step.node >= len(step.nodes) or step.local >= step.tasks[step.node]:
        raise _contradiction(
            f"there is no task {step.local} of node {step.node}, both counted from 0"
        )
    if _number(environ, "SLURM_PROCID") >= count:
        raise _contradiction(f"SLURM_PROCID is not below {count}, the number of tasks")
    name = environ.get("SLURMD_NODENAME", step.nodes[step.node])
    if name != step.nodes[step.node]:
        raise _contradiction(
            f"node {step.node} is {step.nodes[step.node]}, and this one is {name}"
        )


def _tell_of_others(environ: Mapping[str, str]) -> None:
    """Says that this process trains by itself if srun has started others beside it."""
    count = environ.get("SLURM_STEP_NUM_TASKS", "1")
    if count != "1":
        logging.info(
            "srun has started %s tasks, and each trains a run of its own; "
            "--strategy=multi_worker trains one run with all of them",
            count,
        )


def _text(environ: Mapping[str, str], *names: str) -> str:
    """Returns the first of the variables that is set."""
    for name in names:
        if environ.get(name):
            return environ[name]
    raise CommandError(
        ExitCode.ENVIRONMENT, f"{names[0]} is not set in this task of Slurm", fix=_START
    )


def _number(environ: Mapping[str, str], name: str, default: str | None = None) -> int:
    text = environ.get(name) or default or _text(environ, name)
    if not text.isdecimal():
        raise _contradiction(f"{name}={text[:50]!r} is not a number")
    return int(text)


def _contradiction(what: str) -> CommandError:
    return CommandError(
        ExitCode.ENVIRONMENT,
        f"the variables of Slurm do not describe one srun: {what}",
        fix=f"{_START}, or set TF_CONFIG yourself",
    )
