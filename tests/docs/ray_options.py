"""Parses Ray's command lines with Ray's own commands, without running them."""

import pathlib

import click

# `ray start` refuses them after parsing, unless it starts the head.
_HEADS_ALONE = ("port", "redis_shard_ports", "include_dashboard")


def check(arguments: list[str]) -> None:
    """Parses the arguments of `ray`.

    Raises:
      click.UsageError: there is no such command or option, or a value is refused.
    """
    from ray.scripts import scripts

    name, *rest = arguments
    if name == "symmetric-run":
        # Every node gets its options, and all but one are no head.
        rest = [*_start_options(rest), "--address=10.0.0.1:6379"]
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
    given = command.make_context(name, list(rest), parent=context).params
    if name == "start" and not given["head"]:
        _check_no_head(given)


def _check_no_head(given: dict) -> None:
    if not given["address"]:
        raise click.UsageError("a node that is no head needs --address")
    for option in _HEADS_ALONE:
        if given[option] is not None:
            raise click.UsageError(f"{option} is an option of the head alone")


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
