"""Checks a converted dataset: every file, every record, one size against another.

python -m data_prep.verify --data=data/siim
"""

from data_prep.check import verification
from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from flags import command
from flags import verify as verify_flags


def main() -> None:
    folder = verify_flags.data()
    result = verification.verify(folder)
    for line in [*result.odd_lines(), *result.issues.lines()]:
        print(line)
    if result.issues:
        raise CommandError(
            ExitCode.CORRUPT,
            f"{len(result.issues)} findings in {folder}",
            fix="each line above ends with its fix",
        )
    print(
        f"{folder}: no fault in {result.num_records} records, "
        f"{result.num_shards} shards, {result.num_datasets} datasets"
    )


if __name__ == "__main__":
    command.run(main, verify_flags.GROUPS)
