"""Writes run folders as training does, with random weights."""

import keras

from data_prep.dataset import manifest
from tests import fakes
from trainer.guard import describe
from trainer.input.fold_dataset import FoldDataset
from trainer.models import registry
from trainer.run.run_folder import RunFolder

CLASSIFIER = "encoded(label=true)"
# The smallest segmenter whose network has features of a film.
POOLED = "unet(starting_filters=2, n_pools=1)"


def member(
    folder,
    dataset,
    seed,
    *,
    bias=None,
    fold=0,
    model="tiny",
    scale=1,
    described=False,
):
    """Writes a finished run.

    Args:
      folder: the run folder to write.
      dataset: the dataset folder that the run claims to be trained on.
      seed: seed of the weights.
      bias: bias of the last layer, or None.
      fold: the fold that the run claims to be validated on.
      model: "tiny", POOLED or CLASSIFIER.
      scale: factor of the last layer's kernel, for larger logits.
      described: whether it has a description of the dataset's films.

    Returns:
      The network.
    """
    keras.utils.set_random_seed(seed)
    run = RunFolder(folder)
    data = manifest.read(dataset)
    run.claim({"model": model, "precision": "float32", "fold": fold}, data, "")
    network = registry.build_from_spec(model, image_size=data.image_size)
    if bias is not None:
        network.layers[-1].bias.assign([bias])
    network.layers[-1].kernel.assign(scale * network.layers[-1].kernel)
    for name in ("swa", "best"):
        run.save_weights(network, name)
    if described:
        config = fakes.train_config(model=model, fold=fold)
        describe.write(folder, FoldDataset(config, dataset), config)
    run.finish({}, {}, 0.0)
    return network
