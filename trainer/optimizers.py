"""Update rules by name, with the loss scale where the precision needs one."""

import keras

from trainer.config import TrainConfig

OPTIMIZERS = {
    "adam": lambda c: keras.optimizers.Adam(c.learning_rate),
    "adamw": lambda c: keras.optimizers.AdamW(
        c.learning_rate, weight_decay=c.weight_decay
    ),
    "sgd": lambda c: keras.optimizers.SGD(c.learning_rate, momentum=0.9, nesterov=True),
}


def build(config: TrainConfig, model: keras.Model) -> keras.optimizers.Optimizer:
    """Returns the optimizer of all trainable weights, under the strategy's scope.

    In float16 small gradients vanish: the loss is scaled up, and down again
    before the update (Micikevicius et al. 2018, https://arxiv.org/abs/1710.03740).
    """
    optimizer = OPTIMIZERS[config.optimizer](config)
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer
