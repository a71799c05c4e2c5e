"""Packaged recipes: `--preset=NAME` is flags/presets/NAME.flagfile, from any folder."""

import dataclasses
import pathlib
import re
import textwrap

from absl import flags

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from flags import groups as flag_groups

FOLDER = pathlib.Path(__file__).parent / "presets"
LIST = "list"
PRESET = flags.DEFINE_string(
    "preset",
    None,
    "`Name` of a packaged recipe; list shows them all. A flag that is given beside it "
    "wins over the recipe's, wherever it stands.",
)
_END = """\
The size is that of the dataset given by --data. python -m trainer.list_models counts
the parameters, the arithmetic and the memory of every network at any size."""
_FACT = re.compile(r"# (Size|Cost|Score): (.+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """One recipe.

    Attributes:
      name: of the recipe and of its file.
      about: what it is; the first sentence says it in short.
      size: side of the images that it is made for, in pixels. It is no flag: the
        dataset folder that is given by --data decides it.
      cost: parameters, and arithmetic of one image, as text.
      score: what was measured, as text.
      arguments: the recipe, as it would be written on a command line.
    """

    name: str
    about: str
    size: int
    cost: str
    score: str
    arguments: tuple[str, ...]

    def value(self, name: str) -> str:
        """Returns what the recipe has for a flag, or else the flag's default."""
        for argument in self.arguments:
            if argument.startswith(f"--{name}="):
                return argument.partition("=")[2]
        return str(flags.FLAGS[name].default)


def names() -> list[str]:
    """Returns the names of all recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.flagfile"))


def read(name: str) -> Preset:
    """Returns a recipe.

    Raises:
      CommandError: there is none of this name.
    """
    if name not in names():
        tip = flag_groups.nearest(pathlib.PurePath(name).stem, names(), dashes="")
        raise CommandError(
            ExitCode.FLAGS,
            f"no preset {name!r}",
            fix=f"{tip}--preset=list shows all, and --flagfile takes your own file",
        )
    lines = (FOLDER / f"{name}.flagfile").read_text().splitlines()
    facts = dict(m.groups() for line in lines if (m := _FACT.fullmatch(line)))
    about = [x for x in lines if x.startswith("# ") and not _FACT.fullmatch(x)]
    return Preset(
        name=name,
        about=" ".join(line.removeprefix("# ") for line in about),
        size=int(facts["Size"].removesuffix(" px")),
        cost=facts["Cost"],
        score=facts["Score"],
        arguments=tuple(line for line in lines if line.startswith("--")),
    )


def table(width: int) -> str:
    """Returns all recipes as text: a row of numbers each, and what it is.

    Args:
      width: of a line of text, in characters; the rows are 78 wide.
    """
    rows = [("preset", "model", "px", "epochs", "batch")]
    texts = [""]
    for recipe in map(read, names()):
        model = recipe.value("model").partition("(")[0]
        numbers = (recipe.value("epochs"), recipe.value("global_batch_size"))
        rows.append((recipe.name, model, str(recipe.size), *numbers))
        about = re.split(r"(?<=\.) ", recipe.about)[0]
        texts.append(
            f"{about} {recipe.cost}; {recipe.value('precision')}. "
            f"Score: {recipe.score}."
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, about in zip(rows, texts, strict=True):
        cells = zip(row, widths, strict=True)
        # Names to the left, numbers to the right.
        lines.append(
            "  ".join(
                cell.ljust(w) if place < 2 else cell.rjust(w)
                for place, (cell, w) in enumerate(cells)
            ).rstrip()
        )
        lines += textwrap.wrap(
            about, width, initial_indent="    ", subsequent_indent="    "
        )
    return "\n".join([*lines, "", textwrap.fill(_END, width)])
