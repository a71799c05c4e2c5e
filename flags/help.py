"""The text of --help: the command's docstring, then its flags in their groups.

A back-quoted word in a flag's help text names the value, as in Go's `flag` package:
"How many `epochs` to train." is shown as `--epochs=EPOCHS  How many epochs to train.`
"""

import inspect
import re
import textwrap

from absl import flags

from flags import auto_flag
from flags import groups as flag_groups
from flags.groups import Groups

# Arguments that print help: what users write, and absl's own flags.
SHORT = frozenset({"-h", "--h", "-?", "--help", "-help", "--helpshort", "-helpshort"})
FULL = frozenset({"--helpfull", "-helpfull"})
_COLUMN = 26
_NO_BREAK = "\N{NO-BREAK SPACE}"
_END = """\
A file may hold flags, too, one --name=value a line: --flagfile=FILE. --helpfull adds
the flags of absl, which are for debugging."""


def text(doc: str, groups: Groups, *, width: int, full: bool) -> str:
    """Returns the help of one command.

    Args:
      doc: docstring of the command's module.
      groups: the command's flags.
      width: maximum length of a line, in characters.
      full: whether absl's flags are shown, too.
    """
    parts = [inspect.cleandoc(doc)]
    sections = [
        ("Needed:", [n for choice in groups.choices() for n in choice]),
        ("Often used:", [h.name for h in groups.common]),
        ("Rarely used:", [h.name for h in groups.rare]),
        ("Of absl:", _of_absl() if full else []),
    ]
    for heading, names in sections:
        if names:
            entries = [_entry(name, groups, width) for name in names]
            parts.append("\n".join([heading, *entries]))
    parts.append(textwrap.fill(_END, width, break_on_hyphens=False))
    return "\n\n".join(parts)


def placeholders(help_text: str) -> list[str]:
    """Returns the back-quoted words of a help text."""
    return re.findall(r"`([^`]+)`", help_text)


def _of_absl() -> list[str]:
    by_module = flags.FLAGS.flags_by_module_dict()
    modules = sorted(m for m in by_module if m.startswith("absl"))
    return [flag.name for module in modules for flag in by_module[module]]


def _entry(name: str, groups: Groups, width: int) -> str:
    flag = flags.FLAGS[name]
    help_text = groups.help_of(name)
    invocation = "  " + _form(flag, help_text)
    # Keeps "default:" and its value on one line.
    default = _default(name, groups).replace(": ", f":{_NO_BREAK}", 1)
    description = f"{flag_groups.plain(help_text)} ({default})"
    column = min(_COLUMN, width // 3)
    lines = textwrap.wrap(description, max(width - column, 20), break_on_hyphens=False)
    lines = [" " * column + line.replace(_NO_BREAK, " ") for line in lines]
    if len(invocation) <= column - 2:
        lines[0] = invocation.ljust(column) + lines[0].lstrip()
        invocation = ""
    return "\n".join(([invocation] if invocation else []) + lines)


def _form(flag: flags.Flag, help_text: str) -> str:
    """Returns `--[no]jit`, `--voi=none|first|percentile` or `--epochs=EPOCHS`."""
    if isinstance(flag, auto_flag.AutoFlag):
        return f"--{flag.name}={'|'.join(auto_flag.VALUES)}"
    if flag.boolean:
        return f"--[no]{flag.name}"
    if isinstance(flag, flags.EnumFlag):
        return f"--{flag.name}={'|'.join(flag.parser.enum_values)}"
    value = next(iter(placeholders(help_text)), "value").upper()
    if isinstance(flag.parser, flags.ListParser):
        value += ",..."
    return f"--{flag.name}={value}"


def _default(name: str, groups: Groups) -> str:
    for choice in groups.choices():
        if name in choice:
            others = [f"--{other}" for other in choice if other != name]
            return ", or ".join(["needed", *others])
    flag = flags.FLAGS[name]
    if isinstance(flag, auto_flag.AutoFlag):
        return f"default: {auto_flag.AUTO}"
    if flag.boolean:
        return f"default: {'on' if flag.default else 'off'}"
    if flag.default in (None, "", []):
        return "not set by default"
    if isinstance(flag.default, list):
        return f"default: {', '.join(flag.default)}"
    is_number = isinstance(flag.default, float)
    return f"default: {flag.default:g}" if is_number else f"default: {flag.default}"
