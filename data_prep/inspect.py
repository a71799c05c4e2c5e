"""Shows what a dataset holds: counts, histograms, a contact sheet, as one page.

python -m data_prep.inspect --data=data/siim/256 --output=report
"""

import pathlib

from data_prep import inspect_page
from flags import command
from flags import common


def main() -> None:
    output = pathlib.Path(common.required(common.OUTPUT))
    data = pathlib.Path(common.required(common.DATA))
    inspect_page.write(data, output, common.NUM_PICTURES.value)
    print(output / inspect_page.PAGE)


if __name__ == "__main__":
    command.run(main, common)
