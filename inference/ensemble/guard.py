"""How unlike the members' training films a film is, in units of the limit asked for.

Each member has a description of the films that it learned from (trainer/guard/). A
film's score by one member is its largest standardized distance over the groups of
features, divided by the score that the quantile asked for has among the films held out
of that member's training: 0 is a film like most, 1 the limit, and above it a film is
marked. Of several members it is the mean, as of their probabilities, and of a run
given for its reconstruction the larger of both.

The network's own features come out of the run that predicts. With classifiers, which
alone see every film, they are those of the classifiers.
"""

import dataclasses
import functools
from collections.abc import Mapping
from collections.abc import Sequence

import tensorflow as tf

from inference.ensemble import mean_probability
from inference.ensemble.networks import HOST
from inference.ensemble.placement import PlacedGroup
from inference.ensemble.placement import PlacedMember
from trainer.guard import features

# Maps positions of members to their networks' features, [B, F].
Tapped = Mapping[int, tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of some films.

    Attributes:
      total: [B] float32; above 1 a film is marked.
      by_kind: {kind of features, such as "grey" or "encoder": [B] float32}, the mean
        over the members, each in the same units; the largest says why.
    """

    total: tf.Tensor
    by_kind: dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """A member whose training films are compared with.

    Attributes:
      member: the member.
      groups: the groups of its description that are compared.
      limit: its score at the quantile.
      reconstructs: whether it is the run given for its reconstruction.
    """

    member: PlacedMember
    groups: tuple[str, ...]
    limit: float
    reconstructs: bool

    @property
    def tap(self) -> str | None:
        """The group of its network's own features, if they are compared."""
        return self.member.group if self.member.group in self.groups else None


class Guard:
    """Compares films; made by `of_members`.

    Attributes:
      compared: the members with a description.
    """

    def __init__(self, compared: Sequence[Compared]):
        self.compared = list(compared)
        members = [c.member for c in compared if not c.reconstructs]
        # Traced here, not in the thread that compares first.
        self._measures = {
            mean_probability.key(m): _graph(m.dataset.manifest.image_size)
            for m in members
        }

    @classmethod
    def of_members(cls, group: PlacedGroup, quantile: float) -> "Guard | None":
        """Returns the guard of some members; None where none has a description.

        Args:
          group: the members.
          quantile: share of films like those of the training that is not marked; 0 for
            no guard.
        """
        if not quantile:
            return None
        seeing = group.classifiers or group.segmenters
        compared = [
            _compared(member, quantile, tapped=any(member is s for s in seeing))
            for member in (*group.segmenters, *group.classifiers)
            if member.description
        ]
        if group.reconstructing:
            compared.append(_reconstructing(group.reconstructing, quantile))
        return cls(compared) if compared else None

    def clear(self) -> None:
        """Forgets the features of earlier images; before the networks run others."""
        for compared in self.compared:
            compared.member.noted.clear()

    def tapped(self, count: int) -> dict[int, tf.Tensor]:
        """Returns the features of the `count` images that networks ran since then."""
        return {
            k: compared.member.noted.features[:count]
            for k, compared in enumerate(self.compared)
            if compared.tap and compared.member.noted.features is not None
        }

    def scores(
        self, images: Mapping[str, tf.Tensor], tapped: Tapped | None = None
    ) -> tf.Tensor:
        """Returns [B] float32, above 1 for films that are marked; see `compare`."""
        return self.compare(images, tapped).total

    def compare(
        self, images: Mapping[str, tf.Tensor], tapped: Tapped | None = None
    ) -> Scores:
        """Compares films, by TensorFlow operations alone.

        Args:
          images: {key of a dataset: [B, S, S, 1] uint8}, see mean_probability.key.
          tapped: features of networks that have run; the others are run.
        """
        measured = {
            name: measure(tf.cast(images[name], tf.uint8))
            for name, measure in self._measures.items()
        }
        totals, kinds = [], {}
        reconstruction = None
        for k, compared in enumerate(self.compared):
            member = compared.member
            name = mean_probability.key(member)
            found = dict(measured.get(name, {}))
            if compared.tap:
                own = (tapped or {}).get(k)
                if own is None:
                    own = member.features(tf.cast(images[name], tf.float32))
                found[compared.tap] = own
            with tf.device(HOST):
                ratios = {
                    group: member.description.distances[group].of(found[group])
                    / compared.limit
                    for group in compared.groups
                }
                largest = tf.reduce_max(tf.stack(list(ratios.values())), axis=0)
            for group, ratio in ratios.items():
                kinds.setdefault(group.partition(":")[0], []).append(ratio)
            if compared.reconstructs:
                reconstruction = largest
            else:
                totals.append(largest)
        with tf.device(HOST):
            parts = [tf.add_n(totals) / len(totals)] if totals else []
            parts += [] if reconstruction is None else [reconstruction]
            return Scores(
                total=functools.reduce(tf.maximum, parts),
                by_kind={kind: tf.add_n(v) / len(v) for kind, v in kinds.items()},
            )


def _compared(member: PlacedMember, quantile: float, *, tapped: bool) -> Compared:
    groups = [*features.SIZES]
    if tapped and member.group:
        groups.append(member.group)
    return Compared(
        member=member,
        groups=tuple(groups),
        limit=member.description.limit(groups, quantile),
        reconstructs=False,
    )


def _reconstructing(member: PlacedMember, quantile: float) -> Compared:
    return Compared(
        member=member,
        groups=(member.group,),
        limit=member.description.limit([member.group], quantile),
        reconstructs=True,
    )


@functools.cache
def _graph(size: int):
    """Returns the graph of features.of_images, which all devices and members share."""
    spec = tf.TensorSpec([None, size, size, 1], tf.uint8)
    return tf.function(features.of_images).get_concrete_function(spec)
