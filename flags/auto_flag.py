"""A flag that is on, off, or left to the program: --x, --nox, --x=auto|true|false."""

from absl import flags

AUTO = "auto"
VALUES = (AUTO, "true", "false")


class AutoParser(flags.BooleanParser):
    """Parses what a flag of bool takes, and "auto", which is None."""

    def parse(self, argument):
        if argument == AUTO:
            return None
        try:
            return super().parse(argument)
        except ValueError as e:
            raise ValueError(f"value should be one of <{'|'.join(VALUES)}>") from e


class AutoFlag(flags.Flag):
    """A flag whose value is a bool, or None for "auto", its default.

    Its spellings include those of a flag of bool, such as flagfiles hold.
    """

    def __init__(self, name: str, help_text: str):
        super().__init__(
            AutoParser(),
            flags.ArgumentSerializer(),
            name,
            default=None,
            help_string=help_text,
            boolean=True,
        )
