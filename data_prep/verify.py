"""Checks every shard and record of a dataset, and lists all that is wrong.

python -m data_prep.verify --data=data/siim
"""

import itertools
import pathlib

from data_prep import verification
from data_prep.failures import ExitCode
from flags import command
from flags import common

_SHOWN_PER_FILE = 20


def main() -> ExitCode:
    findings = verification.verify(pathlib.Path(common.required(common.DATA)))
    for file, group in itertools.groupby(findings, key=lambda finding: finding.file):
        members = list(group)
        for finding in members[:_SHOWN_PER_FILE]:
            print(f"{file}: {finding.what}; convert again")
        if len(members) > _SHOWN_PER_FILE:
            print(f"{file}: ... and {len(members) - _SHOWN_PER_FILE} more")
    print(f"{len(findings)} findings" if findings else "no findings")
    return ExitCode.CORRUPT if findings else ExitCode.DONE


if __name__ == "__main__":
    command.run(main, common)
