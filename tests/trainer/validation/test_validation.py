"""Scores of a whole fold, from the images to the numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from data_prep.core.errors import CommandError
from data_prep.core.errors import ExitCode
from data_prep.dataset import rle
from inference.prediction.probability_maps import ProbabilityMap
from inference.tuning import counting
from trainer.distributed import runtime
from trainer.distributed.cluster import SINGLE
from trainer.distributed.cluster import Cluster
from trainer.optim import losses
from trainer.validation import evaluation_step
from trainer.validation import grid_search
from trainer.validation import rules
from trainer.validation.validation import validate

SIZE, BATCH = 32, 4
# A grey value stands for a logit, so that a test decides what the network predicts.
SCALE = 16.0
NAN, INF = 255, 254


class GreyAsLogit(keras.layers.Layer):
    def call(self, x):
        logits = (x - 128.0) / SCALE
        logits = tf.where(x == NAN, np.nan, logits)
        return tf.where(x == INF, np.inf, logits)


def grey_model():
    image = keras.Input((SIZE, SIZE, 1), name="image")
    mask = GreyAsLogit(dtype="float32", name="mask_logits")(image)
    return keras.Model(image, {"mask": mask})


def films(num_images, seed=0):
    """Returns images and masks; every third film has a lesion, some of them faint."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 126, (num_images, SIZE, SIZE, 1)).astype(np.uint8)
    masks = np.zeros_like(images)
    for k in range(num_images):
        rows = slice(4, 4 + 4 + k % 5)
        if k % 3 == 0:
            masks[k, rows, 8:20] = 1
            images[k, rows, 6:20] = rng.integers(115, 175, (4 + k % 5, 14, 1))
        elif k % 3 == 1:
            images[k, 20:22, 20:22] = 200
    return images, masks


def batches(images, masks):
    """Returns padded batches, as input_pipeline.for_evaluation makes them."""
    num_images = len(images)
    index = np.arange(-(-num_images // BATCH) * BATCH)
    valid = index < num_images
    rows = np.where(valid, index, 0)
    data = {
        "image": images[rows],
        "mask": masks[rows],
        "label": masks.any(axis=(1, 2, 3)).astype(np.int64)[rows],
        "valid": valid,
        "position": index,
    }
    return tf.data.Dataset.from_tensor_slices(data).batch(BATCH, drop_remainder=True)


def scores_of(images, masks, *, replicas=1, loss="dice(1)"):
    strategy = tf.distribute.get_strategy()
    if replicas > 1:
        devices = tf.config.list_logical_devices("CPU")[:replicas]
        strategy = runtime.mirrored(*(d.name for d in devices))
    with strategy.scope():
        model = grey_model()
    evaluate = evaluation_step.make_evaluate(strategy, model, losses.parse(loss))
    cluster = Cluster(strategy, SINGLE)
    return validate(
        evaluate,
        strategy,
        cluster.distribute(batches(images, masks)),
        cluster,
        num_records=len(images),
        image_size=SIZE,
        ids_of=lambda positions: [f"film{p}" for p in positions],
    )


def tuned(images, masks):
    """Returns the best Dice and rule as `inference.tune` finds them on these maps."""
    probability = tf.sigmoid((images.astype(np.float32) - 128.0) / SCALE).numpy()
    maps = [
        ProbabilityMap(
            image_id=f"film{k}",
            values=probability[k, ..., 0].astype(np.float16),
            source_height=SIZE,
            source_width=SIZE,
            fold=0,
            classifier=None,
        )
        for k in range(len(images))
    ]
    truth = {f"film{k}": [rle.encode(masks[k, ..., 0])] for k in range(len(images))}
    thresholds = {*rules.TOPS, *rules.BOTTOMS, rules.SEED.top}
    counts = counting.count(
        maps, truth, aspect="pad", thresholds=thresholds, num_workers=1
    )
    return counts, grid_search.best_rule(counts, rules.DEFAULT_GRID)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("num_images", [8, 11])
def test_an_epoch_scores_as_tuning_on_its_maps(num_images, replicas):
    images, masks = films(num_images)
    scores = scores_of(images, masks, replicas=replicas)
    counts, (dice, rule) = tuned(images, masks)
    assert scores["tuned_dice"] == dice
    assert scores["tuned_rule"] == rule.spec()
    assert scores["all_empty"] == (counts.truth_area == 0).mean()
    assert scores["tuned_dice"] > max(scores["all_empty"], scores["dice"])
    by_half = grid_search.dice(counts, rules.PLAIN).mean()
    assert scores["dice"] == pytest.approx(by_half, abs=1e-3)


def test_the_score_does_not_depend_on_the_order_of_images():
    images, masks = films(11)
    order = np.random.default_rng(1).permutation(11)
    one, other = scores_of(images, masks), scores_of(images[order], masks[order])
    assert one["tuned_rule"] == other["tuned_rule"]
    assert one["tuned_dice"] == pytest.approx(other["tuned_dice"], abs=1e-12)


def test_silent_masks_score_as_all_empty():
    images, masks = films(9)
    scores = scores_of(np.zeros_like(images), masks)
    assert scores["tuned_dice"] == scores["all_empty"] == pytest.approx(2 / 3)
    assert not grid_search.beats(scores["tuned_dice"], scores["all_empty"])


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("value", [NAN, INF])
def test_outputs_that_are_not_finite_name_their_images(value, replicas):
    images, masks = films(11)
    # On the second of two replicas, and one pixel of all.
    images[6, 3, 3] = images[7, 0, 0] = value
    with pytest.raises(
        CommandError, match=r"not finite for 2 of 11 .*\(film6, film7\)"
    ) as e:
        scores_of(images, masks, replicas=replicas)
    assert e.value.exit_code == ExitCode.DIVERGED


def test_padding_may_be_anything():
    """The first record pads the last batch, and must not count twice."""
    images, masks = films(9)
    assert scores_of(images, masks) == scores_of(images, masks, replicas=2)


def test_a_lost_image_is_noticed():
    images, masks = films(8)
    strategy = tf.distribute.get_strategy()
    evaluate = evaluation_step.make_evaluate(
        strategy, grey_model(), losses.parse("dice(1)")
    )
    with pytest.raises(CommandError, match="8 images, 8 of them different, .* of 9"):
        validate(
            evaluate,
            strategy,
            batches(images, masks),
            Cluster(strategy, SINGLE),
            num_records=9,
            image_size=SIZE,
            ids_of=list,
        )


@pytest.mark.parametrize("lesions", [True, False])
def test_a_fold_of_one_class_has_scores(lesions):
    images, masks = films(9)
    chosen = masks.any(axis=(1, 2, 3)) == lesions
    scores = scores_of(images[chosen], masks[chosen])
    assert scores["auc"] is None
    assert scores["all_empty"] == (0.0 if lesions else 1.0)
    assert (scores["pixel_ap"] is None) == (not lesions)
    assert 0 <= scores["tuned_dice"] <= 1
