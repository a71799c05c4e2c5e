"""Checks a converted dataset: every file, every record, one size against another.

python -m data_prep.verify --data=data/siim
"""

from data_prep.check import verification
from data_prep.core.failures import ExitCode
from data_prep.core.failures import Failure
from flags import command
from flags import verify as verify_flags


def main() -> None:
    folder = verify_flags.data()
    result = verification.verify(folder)
    for line in result.findings.lines():
        print(line)
    if result.findings:
        raise Failure(
            ExitCode.CORRUPT,
            f"{len(result.findings)} findings in {folder}",
            mend="each line above ends with its mend",
        )
    print(
        f"{folder}: no fault in {result.num_records} records, "
        f"{result.num_shards} shards, {result.num_datasets} datasets"
    )


if __name__ == "__main__":
    command.run(main, verify_flags.GROUPS)
