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
from inference.inputs.datasets import Dataset
from trainer.guard.description import Description
from trainer.machine import device_memory


class Noted:
    """What a network gives beside its logits, of the images that it ran first.

    A member runs an image in several views, the original first; the guard asks of that
    one, and no network is to run twice for it.

    Attributes:
      features: [B, F] float32 of the first run since `clear`, or None.
    """

    def __init__(self):
        self.features: tf.Tensor | None = None

    def clear(self) -> None:
        """Forgets them, before other images are run."""
        self.features = None

    def add(self, features: tf.Tensor | None) -> None:
        """Keeps those of a run if it is the first."""
        if self.features is None:
            self.features = features


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlacedMember:
    """A member on one device.

    Attributes:
      logits: runs the network; call it within `tf.device` of the device.
      logits_in_float32: the same in float32 with the same weights, or None.
      dataset: the dataset with images of its size and preprocessing.
      description: of the films that it was trained on, or None.
      group: the group of the description that its network's features go by, or None.
      features: maps [B, S, S, 1] float32 in 0..255 to these features, or None.
      noted: these features of the images that `logits` ran first.
    """

    logits: Logits
    logits_in_float32: Logits | None
    dataset: Dataset
    description: Description | None = None
    group: str | None = None
    features: Logits | None = None
    noted: Noted = dataclasses.field(default_factory=Noted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlacedGroup:
    """The members that predict the same images together, on one device.

    Attributes:
      segmenters: members with masks.
      classifiers: members with labels.
      reconstructing: says how well it reconstructs a film, or None.
    """

    segmenters: list[PlacedMember]
    classifiers: list[PlacedMember]
    reconstructing: PlacedMember | None = None

    def in_float32(self) -> "PlacedGroup":
        """Returns the same members in float32, without a guard; see `compared`."""
        segmenters, classifiers = (
            [
                dataclasses.replace(m, logits=m.logits_in_float32, description=None)
                for m in members
            ]
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
        reconstructing = group.reconstructing and _placed(
            group.reconstructing, device, before_each, compared=False
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
    return PlacedGroup(
        segmenters=segmenters, classifiers=classifiers, reconstructing=reconstructing
    )


def _placed(
    member: Member, device: str, before_each: Callable[[], None], compared: bool
) -> PlacedMember:
    if member.openvino:
        return PlacedMember(
            logits=_by_openvino(member, before_each),
            logits_in_float32=None,
            dataset=member.dataset,
            description=member.description,
        )
    with tf.device(device):
        trainable, fixed = ([tf.identity(w) for w in part] for part in member.weights)
    weights = trainable, fixed
    noted = Noted()

    def output_of(network: Network, output: str, notes: str = "") -> Logits:
        graph = network.graph  # Traced here, not in the thread that runs it first.

        def run(images: tf.Tensor) -> tf.Tensor:
            before_each()
            outputs = graph(images, *weights)
            noted.add(outputs.get(notes))
            return outputs[output]

        return run

    tap, group = member.tap or ("", None)
    return PlacedMember(
        logits=output_of(member.network, member.output, tap),
        logits_in_float32=(
            output_of(member.network.in_float32, member.output) if compared else None
        ),
        dataset=member.dataset,
        description=member.description,
        group=group,
        features=output_of(member.network, tap) if tap else None,
        noted=noted,
    )


def _by_openvino(member: Member, before_each: Callable[[], None]) -> Logits:
    def logits(images: tf.Tensor) -> tf.Tensor:
        before_each()
        return tf.constant(member.openvino(images.numpy())[member.output])

    return logits
