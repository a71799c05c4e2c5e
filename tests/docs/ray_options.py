"""Parses Ray's command lines with Ray's own commands, without running them."""

import pathlib

import click


def check(arguments: list[str]) -> None:
    """Parses the arguments of `ray`.

    Raises:
      click.UsageError: there is no such command or option, or a value is refused.
    """
    from ray.scripts import scripts

    name, *rest = arguments
    if name == "symmetric-run":
        rest = _start_options(rest)
        name = "start"
    command: click.Command = scripts.cli
    context = click.Context(command, info_name="ray")
    rest = [name, *rest]
    while isinstance(command, click.Group):
        name, *rest = rest
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"ray has no command {name}")
        command = found
    # Not resilient_parsing, which passes over unknown options.
    command.make_context(name, list(rest), parent=context)


def _start_options(arguments: list[str]) -> list[str]:
    """Returns the options that symmetric-run gives to `ray start`.

    Raises:
      click.ClickException: it refuses one of them.
    """
    from ray.scripts import symmetric_run

    if "--" not in arguments or arguments[-1] == "--":
        raise click.UsageError("symmetric-run needs -- and a command")
    own = arguments[: arguments.index("--")]
    symmetric_run.symmetric_run.make_context("symmetric-run", list(own))
    return symmetric_run.curate_and_validate_ray_start_args(own)


def check_cluster_file(path: pathlib.Path) -> None:
    """Validates a file of Ray's cluster launcher as Ray itself does.

    Raises:
      jsonschema.ValidationError: a field is unknown or has a wrong value.
    """
    import yaml
    from ray.autoscaler._private import util

    util.validate_config(util.prepare_config(yaml.safe_load(path.read_text())))
