"""Writes a synthetic dataset in the competition's layout.

python -m data_prep.synthetic --output=data/synthetic
"""

from data_prep.phantom import synthetic_folder
from flags import command
from flags import synthetic as synthetic_flags


def main() -> None:
    synthetic_folder.write(synthetic_flags.synthetic_config())


if __name__ == "__main__":
    command.run(main, synthetic_flags.GROUPS)
