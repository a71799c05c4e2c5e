"""The sides of the benchmark `training_peers`, each in a separate process.

    python -m tests.benchmarks.sides.training_peer_sides SIDE NETWORK SIZE BATCH CORES

One repeat of the work is one step on a resident batch: forward pass, `bce(1)+dice(1)`,
gradient, Adam. Nothing is read, so only the step is compared.
"""

import sys

import numpy as np

from tests.benchmarks.harness import arithmetic
from tests.benchmarks.harness import worker

OURS, SMP, PRODUCT = "ours", "torch", "matrix product"


def batch(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and masks, [B, S, S, 1] uint8; a quarter have a lesion."""
    rng = np.random.default_rng(size)
    images = rng.integers(0, 256, (count, size, size, 1), np.uint8)
    masks = np.zeros_like(images)
    masks[:: max(1, count // 4), size // 4 : size // 2, size // 4 : size // 3] = 1
    return images, masks


def ours(network: str, size: int, count: int, cores: int):
    """Our own step in the way `trainer.main` calls it."""
    import tensorflow as tf

    from tests import fakes
    from trainer import step
    from trainer.distributed import runtime
    from trainer.models import batch_norm
    from trainer.models import registry
    from trainer.optim import losses
    from trainer.optim import optimizers

    del cores  # TensorFlow uses all cores of the process.
    config = fakes.train_config(deterministic=False, global_batch_size=count)
    strategy = runtime.start(config, "single")
    model = registry.build_from_spec(network, image_size=size)
    batch_norm.set_up(model, momentum=0.99)
    optimizer = optimizers.Adam(1e-4)
    optimizer.build(model.trainable_variables)
    train = step.make_train(
        strategy,
        model,
        optimizer,
        losses.parse("bce(1)+dice(1)"),
        config,
    )
    images, masks = batch(size, count)
    resident = tf.data.Dataset.from_tensors({"image": images, "mask": masks})
    batches = iter(strategy.experimental_distribute_dataset(resident.repeat()))

    def work():
        return train(batches, 1).losses.numpy()

    forward = tf.function(lambda x: model(x, training=False)["mask"])
    one = forward.get_concrete_function(tf.TensorSpec([1, size, size, 1], tf.float32))
    return work, arithmetic.of_graph(one.graph)


def torch_smp(network: str, size: int, count: int, cores: int):
    """segmentation-models-pytorch, channels last; `network` is architecture:encoder."""
    import torch

    from tests.benchmarks.sides import smp_networks

    torch.set_num_threads(cores)
    torch.set_flush_denormal(True)  # TensorFlow does, too.
    torch.manual_seed(1)
    model = smp_networks.build(*network.split(":"))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    images, masks = (
        torch.from_numpy(array).permute(0, 3, 1, 2) for array in batch(size, count)
    )
    model.eval()
    gflop = arithmetic.of_torch(model, torch.zeros(1, 1, size, size))
    model.train()

    def work():
        x = (images.float() / 255).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        loss = smp_networks.soft_dice_and_entropy(model(x), masks.float())
        loss.backward()
        optimizer.step()
        return np.array([loss.item()])

    return work, gflop


def product(network: str, size: int, count: int, cores: int):
    """The limit: a large float32 matrix product in TensorFlow."""
    from tests.benchmarks.cases import limits

    del network, size, count, cores
    multiply = limits.tensorflow()[limits.F32]
    return lambda: multiply().numpy(), limits.PRODUCT_GFLOP


SIDES = {OURS: ours, SMP: torch_smp, PRODUCT: product}


def main() -> None:
    side, network, *numbers = sys.argv[1:]
    facts = {}

    def make():
        work, facts["gflop"] = SIDES[side](network, *map(int, numbers))
        return work, lambda: {"loss": np.concatenate([work() for _ in range(12)])}

    worker.serve(make, facts)


if __name__ == "__main__":
    main()
