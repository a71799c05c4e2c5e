import numpy as np

from trainer.models import registry
from trainer.optim import swa


def test_mean_of_two_known_weight_sets():
    model = registry.build("tiny", image_size=32)
    average = swa.WeightAverage()
    for value in (1.0, 4.0):
        for weight in model.weights:
            weight.assign(np.full(weight.shape, value))
        average.add(model)
    average.assign_to(model)
    for weight in model.weights:
        np.testing.assert_array_equal(weight.numpy(), np.full(weight.shape, 2.5))
