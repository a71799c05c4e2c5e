"""Shows what a dataset holds as one page: counts, histograms, a contact sheet.

python -m data_prep.inspect --data=data/siim/256 --output=report
"""

from data_prep.view import inspect_page
from flags import command
from flags import inspect as inspect_flags


def main() -> None:
    output = inspect_flags.output()
    inspect_page.write(inspect_flags.data(), output, inspect_flags.num_pictures())
    print(output / inspect_page.PAGE)


if __name__ == "__main__":
    command.run(main, inspect_flags.GROUPS)
