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
_FACT = re.compile(r"# (Size|Cost|Cards|Memory|Score): (.+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """A packaged recipe.

    Attributes:
      name: name of the recipe, and of its file without the extension.
      about: description, whose first sentence is a summary.
      size: side of the images that the recipe is made for, in pixels. There is no flag
        for it, because the dataset of --data decides it.
      cost: number of parameters and GFLOP per image, as text.
      cards: the cards that the recipe is made for, such as "2 x 16 GB"; empty where
        it is for any.
      memory: of each of these cards, as estimated, in GB; empty where it is for any.
      score: measured score, as text.
      arguments: the flags of the recipe, as on a command line.
    """

    name: str
    about: str
    size: int
    cost: str
    cards: str
    memory: str
    score: str
    arguments: tuple[str, ...]

    @property
    def num_cards(self) -> int:
        """The number of cards that the recipe is made for; 1 where it is for any."""
        return int(self.cards.partition(" x ")[0]) if self.cards else 1

    @property
    def card(self) -> int:
        """The memory that each of these cards is sold with, in GB; 0 for any."""
        match = re.fullmatch(r"\d+ x (\d+) GB", self.cards)
        return int(match[1]) if match else 0

    def value(self, name: str) -> str:
        """Returns the recipe's value of a flag, or the flag's default."""
        for argument in self.arguments:
            if argument.startswith(f"--{name}="):
                return argument.partition("=")[2]
        return str(flags.FLAGS[name].default)


def names() -> list[str]:
    """Returns the names of all recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.flagfile"))


def read(name: str) -> Preset:
    """Returns the recipe of a name.

    Raises:
      CommandError: no recipe has this name.
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
        cards=facts.get("Cards", ""),
        memory=facts.get("Memory", ""),
        score=facts["Score"],
        arguments=tuple(line for line in lines if line.startswith("--")),
    )


def table(width: int) -> str:
    """Returns a text table of all recipes, with a description below each row.

    Args:
      width: maximum length of a description's line, in characters; a row has 78.
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
            + f"{recipe.cards}: {recipe.memory}. " * bool(recipe.cards)
            + f"Score: {recipe.score}."
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, about in zip(rows, texts, strict=True):
        cells = zip(row, widths, strict=True)
        # Aligns names to the left and numbers to the right.
        lines.append(
            "  ".join(
                cell.ljust(w) if column < 2 else cell.rjust(w)
                for column, (cell, w) in enumerate(cells)
            ).rstrip()
        )
        lines += textwrap.wrap(
            about, width, initial_indent="    ", subsequent_indent="    "
        )
    return "\n".join([*lines, "", textwrap.fill(_END, width)])
