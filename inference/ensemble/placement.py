"""Copies the weights of a loaded ensemble to a device, to run its networks there."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from inference.ensemble.members import LoadedGroup
from inference.ensemble.members import Logits
from inference.ensemble.members import Member
from inference.ensemble.networks import Network
from inference.ensemble.networks import Weights
from inference.inputs.datasets import Dataset
from trainer.machine import device_memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlacedMember:
    """A member on one device.

    Attributes:
      logits: runs the network; call it within `tf.device` of the device.
      logits_in_float32: the same in float32 with the same weights, or None.
      dataset: the dataset with images of its size and preprocessing.
    """

    logits: Logits
    logits_in_float32: Logits | None
    dataset: Dataset


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlacedGroup:
    """The members that predict the same images together, on one device.

    Attributes:
      segmenters: members with masks.
      classifiers: members with labels.
    """

    segmenters: list[PlacedMember]
    classifiers: list[PlacedMember]

    def in_float32(self) -> "PlacedGroup":
        """Returns the same members in float32; placed with `compared`."""
        segmenters, classifiers = (
            [dataclasses.replace(m, logits=m.logits_in_float32) for m in members]
            for members in (self.segmenters, self.classifiers)
        )
        return PlacedGroup(segmenters=segmenters, classifiers=classifiers)


def place(
    group: LoadedGroup,
    device: str,
    *,
    before_each: Callable[[], None] = lambda: None,
    compared: bool = False,
) -> PlacedGroup:
    """Copies members to a device.

    Args:
      group: the members.
      device: name of a logical device, such as "/device:GPU:1".
      before_each: called before each run of a network; what it raises ends the run.
      compared: whether the networks are needed in float32, too.

    Raises:
      CommandError: the device has too little memory for the weights.
    """
    try:
        segmenters, classifiers = (
            [_placed(member, device, before_each, compared) for member in members]
            for members in (group.segmenters, group.classifiers)
        )
    except tf.errors.OpError as e:
        if not device_memory.is_out_of_memory(e):
            raise
        raise CommandError(
            ExitCode.ENVIRONMENT,
            f"{device.removeprefix('/device:')} has too little memory for the weights "
            f"of {len(group.members)} members",
            fix="predict with fewer members at once, end what else uses the device, or "
            "leave it out by CUDA_VISIBLE_DEVICES",
        ) from e
    return PlacedGroup(segmenters=segmenters, classifiers=classifiers)


def _placed(
    member: Member, device: str, before_each: Callable[[], None], compared: bool
) -> PlacedMember:
    if member.openvino:
        return PlacedMember(
            logits=_by_openvino(member, before_each),
            logits_in_float32=None,
            dataset=member.dataset,
        )
    with tf.device(device):
        trainable, fixed = ([tf.identity(w) for w in part] for part in member.weights)
    weights = trainable, fixed

    def logits_of(network: Network) -> Logits:
        return _by_tensorflow(network, weights, member.output, before_each)

    return PlacedMember(
        logits=logits_of(member.network),
        logits_in_float32=logits_of(member.network.in_float32) if compared else None,
        dataset=member.dataset,
    )


def _by_openvino(member: Member, before_each: Callable[[], None]) -> Logits:
    def logits(images: tf.Tensor) -> tf.Tensor:
        before_each()
        return tf.constant(member.openvino(images.numpy())[member.output])

    return logits


def _by_tensorflow(
    network: Network,
    weights: Weights,
    output: str,
    before_each: Callable[[], None],
) -> Logits:
    graph = network.graph  # Traced here, not in the thread that runs it first.

    def logits(images: tf.Tensor) -> tf.Tensor:
        before_each()
        return graph(images, *weights)[output]

    return logits
