"""Takes the plan that is stored if it is of the same inputs, else makes it."""

import logging

from data_prep.build import bad_inputs
from data_prep.build import claim
from data_prep.build import parts
from data_prep.build import plan
from data_prep.build import plan_store
from data_prep.build import source_inputs
from data_prep.build import work_folder
from data_prep.build.header_unit import HeaderReader
from data_prep.build.plan import Plan
from data_prep.build.plan_store import PlanHead
from data_prep.config import ConvertConfig
from data_prep.core import remote
from data_prep.core.errors import OF_THE_MACHINE
from data_prep.core.errors import CommandError
from data_prep.executors import code_hash
from data_prep.source.quarantine import Quarantine


def choose(
    config: ConvertConfig,
    reader: HeaderReader,
    bad: Quarantine,
    inputs: str,
    *,
    keep: bool,
) -> Plan:
    """Returns the plan of a conversion, and claims the output for it.

    Args:
      config: the conversion, with absolute paths.
      reader: reads headers.
      bad: takes the bad inputs.
      inputs: digest of the inputs.
      keep: whether a plan that was made is stored for other processes.

    Raises:
      CommandError: as `plan.make` does; too many inputs are bad; or the output is of
        another conversion.
    """
    planned = _stored(config, bad, inputs)
    is_new = planned is None
    listing = source_inputs.listing_digest(config) if is_new and keep else ""
    if is_new:
        try:
            planned = plan.make(config, reader, bad)
        except CommandError:
            bad_inputs.show(config, bad)
            raise
    # Checked before hours of decoding, and again with the images that fail in it.
    bad_inputs.refuse(config, plan.num_images(planned.shards), bad)
    claim.claim(config, planned)
    if is_new and keep:
        parts.forget(config)
        plan_store.write(config, planned, bad.rows(), inputs=inputs, listing=listing)
    # The plan holds what they said.
    remote.remove_tree(work_folder.headers_path(config))
    return planned


def _stored(config: ConvertConfig, bad: Quarantine, inputs: str) -> Plan | None:
    """Returns the stored plan, None where it cannot be used; says why it cannot."""
    head = plan_store.read_head(config)
    if head is None:
        return None
    stored = None
    why = _differs(config, head, inputs)
    if not why:
        stored = plan_store.read(config, head)
        why = _is_stale(stored)
    if why:
        logging.info("the stored plan is made again: %s", why)
        return None
    for row in stored.quarantined:
        bad.add_row(row)
    logging.info(
        "the stored plan of %d shards is used; no header is read again",
        len(head.costs),
    )
    return stored.plan


def _differs(config: ConvertConfig, head: PlanHead, inputs: str) -> str:
    if head.options != plan_store.options(config):
        return "it is of another configuration"
    if head.code != code_hash.of_this_machine():
        return "it was made by other code"
    if head.inputs != inputs:
        return "a film, a label or a csv was added, removed or changed"
    return ""


def _is_stale(stored: plan_store.StoredPlan) -> str:
    codes = {row[1] for row in stored.quarantined} & OF_THE_MACHINE
    if codes:
        return f"it lacks inputs for reasons that may have passed ({_comma(codes)})"
    if not plan_store.has_same_stamps(stored.plan):
        return "files were replaced or touched"
    return ""


def _comma(words: set[str]) -> str:
    return ", ".join(sorted(words))
