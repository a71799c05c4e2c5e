"""Trains every fold with every seed, and summarises.

One member trains after the other, or all at once on a cluster. Each trains in its own
process, which releases its devices and memory when it ends.
"""

import dataclasses
import hashlib
import logging
import math
import os
import pathlib
import statistics
import subprocess
import sys
from typing import Any

from data_prep.core import durable
from data_prep.core import folder_lock
from data_prep.core import local_copy
from data_prep.core import remote
from data_prep.core import text_table
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import manifest as manifests
from trainer.config import CrossValidation
from trainer.config import TrainConfig
from trainer.machine import determinism
from trainer.machine import devices
from trainer.run import member_unit
from trainer.run import members_on_cluster
from trainer.run import run_folder
from trainer.run.member_unit import Member

SUMMARY = "summary.json"
_CHANGED = "see that nothing else writes there, and run this command again"


def run(config: CrossValidation, member: TrainConfig) -> ExitCode:
    """Trains the members that are not finished; writes and prints the summary.

    Args:
      config: the members and their folder.
      member: configuration of every member, except fold and seed.

    Returns:
      DONE, or the exit code of the member that stopped.

    Raises:
      CommandError: a bad fold, a member of another configuration in the folder, another
        run in it, or a GPU that is required and not used.
    """
    if not config.placement.cluster:
        # With --require_gpu this raises before the first member starts.
        devices.announce(
            member.precision,
            most_gpus=1 if config.strategy == "single" else None,
            require_gpu=config.require_gpu,
        )
    if config.passed_over:
        logging.info(
            "of the flagfile, these have no effect here: %s; --folds, --seeds and "
            "--output decide",
            ", ".join(config.passed_over),
        )
    folds = config.folds or tuple(range(manifests.read(config.data).num_folds))
    manifests.read(config.data).check_folds(folds)
    with folder_lock.locked(config.output):
        return _run(config, member, folds)


def _run(
    config: CrossValidation, member: TrainConfig, folds: tuple[int, ...]
) -> ExitCode:
    durable.write_text(_flagfile(config), config.flagfile)
    if config.placement.cluster:
        code = _train_on_cluster(config, member, folds)
        if code:
            return code
    rows = []
    for seed in config.seeds:
        for fold in folds:
            wanted = dataclasses.replace(member, fold=fold, seed=seed)
            folder = config.output / name(fold, seed)
            logging.info("member %d: %s", len(rows) + 1, folder)
            if not _finished(folder, wanted):
                code = _train(config, fold, seed)
                if code:
                    return code
            scores = run_folder.open_finished(folder).result["scores"]
            rows.append({"fold": fold, "seed": seed, **_flat(scores)})
    summary = {"members": rows, **_mean_and_sd(rows)}
    durable.write_json(config.output / SUMMARY, summary)
    print(table(summary))
    # Only a segmenter is scored on masks.
    segments = any("dice" in score for row in rows for score in row)
    print(_next_command(config, folds, segments))
    return ExitCode.DONE


def name(fold: int, seed: int) -> str:
    """Returns the name of a member's run folder."""
    return f"fold{fold}-seed{seed}"


def table(summary: dict[str, Any]) -> str:
    """Returns a text table of the members' scores, mean and standard deviation."""
    scores = list(summary["mean"])
    lines = [["member", *scores]]
    for row in summary["members"]:
        lines.append(
            [name(row["fold"], row["seed"]), *(_format(row.get(s)) for s in scores)]
        )
    for what in ("mean", "sd"):
        lines.append([what, *(_format(summary[what][s]) for s in scores)])
    return text_table.render(lines[0], lines[1:])


def _finished(folder, wanted: TrainConfig) -> bool:
    if not (folder / run_folder.RESULT).exists():
        return False
    stored = run_folder.stored_determinism(folder)
    on, _ = determinism.decide(wanted.deterministic, stored)
    wanted = dataclasses.replace(wanted, deterministic=on)
    durable.refuse_other_config(
        folder,
        run_folder.open_finished(folder).config,
        durable.to_jsonable(dataclasses.asdict(wanted)),
        fix="choose another --output, or delete this member",
    )
    return True


def _train(config: CrossValidation, fold: int, seed: int) -> ExitCode:
    command = [sys.executable, "-m", "trainer.main", *_arguments(config, fold, seed)]
    # This process has already warned of unused GPUs.
    environment = os.environ | {devices.WARNED: "1"}
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    code = member_unit.wait(child)
    if code and code not in set(ExitCode):
        raise CommandError(
            ExitCode.BUG,
            f"fold {fold}, seed {seed} ended with status {code}",
            fix="see the lines above; the same command goes on from there",
        )
    return ExitCode(code)


def _train_on_cluster(
    config: CrossValidation, member: TrainConfig, folds: tuple[int, ...]
) -> ExitCode:
    """Trains all members that are not finished."""
    if remote.is_remote(config.output):
        raise CommandError(
            ExitCode.FLAGS,
            f"--cluster does not train members in {config.output}, an object store",
            fix="give an --output that all machines share, or leave out --cluster",
        )
    absolute = dataclasses.replace(config, output=config.output.absolute())
    # Other machines start in other folders.
    paths = [f"--data={config.data.absolute()}"]
    if member.init_from:
        paths.append(f"--init_from={remote.parse(member.init_from).absolute()}")
    if pathlib.Path(member.encoder_weights).exists():
        file = pathlib.Path(member.encoder_weights).absolute()
        paths.append(f"--encoder_weights={file}")
    pending = [
        Member(
            folder=absolute.output / name(fold, seed),
            arguments=(*_arguments(absolute, fold, seed), *paths),
        )
        for seed in config.seeds
        for fold in folds
        if not _finished(
            config.output / name(fold, seed),
            dataclasses.replace(member, fold=fold, seed=seed),
        )
    ]
    if not pending:
        return ExitCode.DONE
    return members_on_cluster.train(absolute, pending)


def _arguments(config: CrossValidation, fold: int, seed: int) -> list[str]:
    """Returns the flags of a member."""
    return [
        f"--flagfile={_local_flagfile(config)}",
        f"--fold={fold}",
        f"--seed={seed}",
        f"--workdir={config.output / name(fold, seed)}",
    ]


def _flagfile(config: CrossValidation) -> pathlib.Path:
    """Returns where the members' flags are; other flags have a file of another name.

    Members of an earlier command may still wait on a cluster for their turn to read
    theirs.
    """
    return config.output / f"flags-{_digest(config)[:12]}.txt"


def _digest(config: CrossValidation) -> str:
    return hashlib.sha256(config.flagfile.encode()).hexdigest()


def _local_flagfile(config: CrossValidation) -> pathlib.Path:
    """Returns the flagfile on this machine, since absl reads no object store.

    Raises:
      CommandError: it is not there, or has been changed.
    """
    path = _flagfile(config)
    if remote.is_remote(path):
        return local_copy.of(path, sha256=_digest(config), fix=_CHANGED)
    if not path.exists() or durable.sha256(path) != _digest(config):
        raise CommandError(
            ExitCode.CORRUPT, f"{path} is not what was written", fix=_CHANGED
        )
    return path


def _flat(scores: dict[str, Any]) -> dict[str, float | None]:
    """Returns {"swa dice": value, ...} of nested scores, without texts and verdicts.

    The scores of --top_k are of other epochs in each member, and are left out.
    """
    flat: dict[str, float | None] = {}
    for key, value in scores.items():
        if key == "top":
            continue
        if isinstance(value, dict):
            flat |= {f"{key} {inner}": v for inner, v in value.items()}
        else:
            flat[key] = value
    return {k: v for k, v in flat.items() if not isinstance(v, (str, bool))}


def _mean_and_sd(rows: list[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Returns both over the members with the score; sd needs two members."""
    mean: dict[str, float | None] = {}
    sd: dict[str, float | None] = {}
    # Members of an earlier version have other scores.
    for key in dict.fromkeys(key for row in rows for key in row):
        if key in ("fold", "seed"):
            continue
        values = [row[key] for row in rows if row.get(key) is not None]
        mean[key] = math.fsum(values) / len(values) if values else None
        sd[key] = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": mean, "sd": sd}


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _next_command(config: CrossValidation, folds, segments: bool) -> str:
    members = ",".join(
        str(config.output / name(fold, seed)) for seed in config.seeds for fold in folds
    )
    predict = f"python -m inference.main --data={config.data}"
    if not segments:
        predict += f" --classifiers={members}"
        return f"Next: {predict} --split=out_of_fold --output=out_of_fold"
    predict += f" --members={members} --tta=hflip"
    tune = "python -m inference.tune --predictions=out_of_fold --output=tuning"
    return "\n".join(
        [
            f"Next: {predict} --split=out_of_fold --output=out_of_fold",
            f"      {tune} --truth=CSV",
            f"      {predict} --thresholds=tuning/thresholds.json --output=prediction",
        ]
    )
