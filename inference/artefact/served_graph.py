"""The ensemble as a graph: bytes of films in, probability, map and mask out.

Its networks, views and means are those of inference/ensemble/, so a served film and one
that inference.main predicts go through the same operations.
"""

from collections.abc import Callable

import tensorflow as tf

from inference.artefact import film_bytes
from inference.artefact import grey_square
from inference.artefact import mask_graph
from inference.artefact.packed_ensemble import PackedEnsemble
from inference.artefact.packed_ensemble import key
from inference.ensemble import mean_probability
from inference.ensemble.guard import Guard
from inference.ensemble.members import Member
from inference.ensemble.placement import Noted
from inference.ensemble.placement import PlacedGroup
from inference.ensemble.placement import PlacedMember
from inference.ensemble.tta import VIEWS

# {key of a kind of square: its images, [N, S, S, 1] uint8}
Squares = dict[str, tf.Tensor]
# Of an image that is compared with none.
NO_GUARD = -1.0

NOT_FINITE = "the prediction is not finite"
_DECIMALS = 1e5
_GUARD_DECIMALS = 1e4
# As in inference/masks/image_probability.py.
_EPSILON = 2.0**-24


class ServedGraph(tf.Module):
    """The signatures of an artefact, and the variables behind them.

    Args:
      ensemble: what is served.
      shrink: see mean_probability.segmenters.
      guarded: whether films are compared with those of the members' training, where
        the members have descriptions of them.
    """

    def __init__(
        self,
        ensemble: PackedEnsemble,
        shrink: Callable[[tf.Tensor, int], tf.Tensor] = mean_probability.shrunk,
        *,
        guarded: bool = True,
    ):
        super().__init__(name="ensemble")
        self._ensemble = ensemble
        # tf.Module saves the variables that are its attributes.
        self._weights: list[list[tf.Variable]] = []
        group = PlacedGroup(
            segmenters=[self._placed(m) for m in ensemble.group.segmenters],
            classifiers=[self._placed(m) for m in ensemble.group.classifiers],
        )
        views = [VIEWS[name] for name in ensemble.tta]
        self._segment = mean_probability.segmenters(group.segmenters, views, shrink)
        self._classify = None
        if group.classifiers:
            self._classify = mean_probability.classifiers(group.classifiers)
        quantile = ensemble.guard_quantile if guarded else 0
        self._guard = Guard.of_members(group, quantile)

    def _placed(self, member: Member) -> PlacedMember:
        trainable, fixed = (
            [tf.Variable(w, trainable=False) for w in part] for part in member.weights
        )
        self._weights.append([*trainable, *fixed])
        graph, noted = member.network.graph, Noted()
        tap, group = member.tap or ("", None)

        def logits(images: tf.Tensor) -> tf.Tensor:
            values = ([v.read_value() for v in part] for part in (trainable, fixed))
            outputs = graph(images, *values)
            noted.add(outputs.get(tap))
            return outputs[member.output]

        return PlacedMember(
            logits=logits,
            logits_in_float32=None,
            dataset=member.dataset,
            description=member.description,
            group=group,
            noted=noted,
        )

    def of_squares(self, squares: Squares) -> dict[str, tf.Tensor]:
        """Predicts squares.

        Args:
          squares: the images of each kind.

        Returns:
          "probability" [N] float32 in 0..1, calibrated if it can be; "map" [N, s, s]
          float16 in 0..1; "guard" [N] float32; and "gate" [N] float64, the probability
          as the gate of the post-processing takes it.
        """
        count = _count(squares)
        squares = {k: _one_or_more(images) for k, images in squares.items()}
        found = self._predicted(squares)
        return {name: values[:count] for name, values in found.items()}

    def _predicted(self, squares: Squares) -> dict[str, tf.Tensor]:
        if self._guard:
            self._guard.clear()
        maps = self._segment(squares)[..., 0]
        if self._classify:
            gate = self._mean_over_views(squares)
        else:
            gate = tf.cast(tf.reduce_max(maps, axis=[1, 2]), tf.float64)
        probability = gate
        if self._ensemble.temperature is not None:
            probability = calibrated(gate, self._ensemble.temperature)
        return {
            "probability": tf.cast(probability, tf.float32),
            "map": maps,
            "guard": self._scores(squares),
            "gate": gate,
        }

    def _scores(self, squares: Squares) -> tf.Tensor:
        """Returns the guard's scores, [N] float32; NO_GUARD without a guard."""
        count = _count(squares)
        if not self._guard:
            return tf.fill([count], tf.constant(NO_GUARD, tf.float32))
        found = self._guard.compare(squares, self._guard.tapped(count)).total
        # As inference/ensemble/cascade.py rounds them.
        rounded = tf.round(tf.cast(found, tf.float64) * _GUARD_DECIMALS)
        return tf.cast(rounded / _GUARD_DECIMALS, tf.float32)

    def _mean_over_views(self, squares: Squares) -> tf.Tensor:
        """Returns the classifiers' mean, rounded as classification.py rounds it."""
        views = self._ensemble.classifier_tta
        total = tf.add_n(
            [
                tf.cast(self._classify(_viewed(squares, name)), tf.float64)
                for name in views
            ]
        )
        return tf.round(total / len(views) * _DECIMALS) / _DECIMALS

    def of_inputs(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns what the signature `grey` gives for inputs by their names."""
        names = self._ensemble.input_names()
        found = self.of_squares({k: inputs[name] for k, name in names.items()})
        return {
            "probability": found["probability"],
            "map": tf.cast(found["map"], tf.float32),
            "guard": found["guard"],
        }

    def of_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what `serving_default` gives for [N] string, see docs/serving.md."""
        squares, height, width, error = self._decoded(image_bytes)
        found = self.of_squares(squares)
        finite = tf.math.is_finite(found["probability"]) & tf.reduce_all(
            tf.math.is_finite(found["map"]), axis=[1, 2]
        )
        # NaN is not >= any threshold, so the image would count as healthy.
        error = tf.where((error == "") & ~finite, NOT_FINITE, error)
        sound = error == ""
        height, width = (tf.where(sound, side, 0) for side in (height, width))
        maps, masks = self._masks(found, height, width)
        guard = tf.where(sound, found["guard"], NO_GUARD)
        return {
            "probability": tf.where(sound, found["probability"], float("nan")),
            "map": maps,
            "mask": masks,
            "height": height,
            "width": width,
            "guard": guard,
            "unlike": guard > 1,
            "error": error,
        }

    def _decoded(self, image_bytes: tf.Tensor):
        """Returns squares, heights, widths and errors; what is damaged is black."""
        kinds = [kind.manifest.options for kind in self._ensemble.kinds]

        def one(data: tf.Tensor):
            film = film_bytes.decode(data, voi=kinds[0]["voi"])
            squares = tuple(
                grey_square.square(
                    film.grey,
                    film.height,
                    film.width,
                    size=options["image_size"],
                    interpolation=options["interpolation"],
                    aspect=options["aspect"],
                    clahe=options["clahe"],
                )
                for options in kinds
            )
            return squares, film.height, film.width, film.error

        signature = (
            tuple(
                tf.TensorSpec([options["image_size"]] * 2, tf.uint8)
                for options in kinds
            ),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.string),
        )
        squares, *rest = tf.map_fn(one, image_bytes, fn_output_signature=signature)
        by_key = {
            key(kind): images[..., tf.newaxis]
            for kind, images in zip(self._ensemble.kinds, squares, strict=True)
        }
        return by_key, *rest

    def _masks(self, found: dict[str, tf.Tensor], height, width):
        """Returns maps and masks of the sources' sizes, padded to the largest."""
        # A batch of no image has no largest.
        rows, columns = (
            tf.reduce_max(tf.concat([side, [0]], axis=0)) for side in (height, width)
        )

        def masked(image_map, h, w, probability):
            return mask_graph.mask(
                image_map,
                h,
                w,
                aspect=self._ensemble.aspect,
                postprocess=self._ensemble.steps,
                probability=probability,
            )

        def one(element):
            h, w = element[1:3]
            both = tf.cond(h > 0, lambda: masked(*element), _nothing)
            padding = [[0, rows - h], [0, columns - w]]
            return tuple(tf.pad(values, padding) for values in both)

        def each():
            of_map, of_mask = (tf.TensorSpec([None] * 2, t) for t in _DTYPES)
            elements = (found["map"], height, width, found["gate"])
            return tf.map_fn(one, elements, fn_output_signature=(of_map, of_mask))

        # Of no element, map_fn does not know the shape.
        return tf.cond(
            tf.size(height) > 0,
            each,
            lambda: tuple(tf.zeros([0, 0, 0], dtype) for dtype in _DTYPES),
        )

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Returns the traced signatures of a SavedModel."""
        specs = input_specs(self._ensemble)

        def grey(**images: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.of_inputs(images)

        data = tf.TensorSpec([None], tf.string, name="image_bytes")
        # AutoGraph would find nothing to convert, and take twice as long.
        of_bytes, of_grey = (
            tf.function(f, autograph=False) for f in (self.of_bytes, grey)
        )
        return {
            "serving_default": of_bytes.get_concrete_function(data),
            "grey": of_grey.get_concrete_function(**specs),
        }


_DTYPES = (tf.float32, tf.uint8)


def input_specs(ensemble: PackedEnsemble) -> dict[str, tf.TensorSpec]:
    """Returns {name of an input: its spec, [N, S, S, 1] uint8}."""
    names = ensemble.input_names()
    return {
        names[key(kind)]: tf.TensorSpec(
            [None, kind.manifest.image_size, kind.manifest.image_size, 1],
            tf.uint8,
            name=names[key(kind)],
        )
        for kind in ensemble.kinds
    }


def _nothing():
    return tuple(tf.zeros([0, 0], dtype) for dtype in _DTYPES)


def _viewed(squares: Squares, name: str) -> Squares:
    return {k: VIEWS[name].forward(images) for k, images in squares.items()}


def _one_or_more(images: tf.Tensor) -> tf.Tensor:
    """Returns the images, or a black one: TensorFlow convolves no empty batch."""
    lacking = 1 - tf.minimum(tf.shape(images)[0], 1)
    return tf.pad(images, [[0, lacking], [0, 0], [0, 0], [0, 0]])


def _count(squares: Squares) -> tf.Tensor:
    return tf.shape(next(iter(squares.values())))[0]


def calibrated(probability: tf.Tensor, temperature: float) -> tf.Tensor:
    """The graph of inference/masks/image_probability.py's `calibrated`."""
    p = tf.clip_by_value(probability, _EPSILON, 1 - _EPSILON)
    return 1 / (1 + ((1 - p) / p) ** (1 / temperature))
