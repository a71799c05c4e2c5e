"""PyTorch on a GPU: trains and predicts on a resident batch, with or without compile.

    python -m tests.benchmarks.sides.gpu_torch FOLDER SETTINGS

SETTINGS is the JSON of a gpu_ours.Settings; FOLDER is not used. The network is that of
segmentation-models-pytorch, or of torch_networks.py where that is not installed;
channels last, bfloat16 by autocast, cuDNN's benchmark mode, fused Adam, our loss.
"""

import contextlib
import importlib.util
import json
import sys
import time

import torch

from tests.benchmarks.harness import arithmetic
from tests.benchmarks.harness import prepared
from tests.benchmarks.sides import gpu_ours
from tests.benchmarks.sides import smp_networks
from tests.benchmarks.sides import torch_networks
from tests.benchmarks.sides import training_peer_sides
from tests.benchmarks.sides.gpu_ours import Settings

_PEER = "segmentation_models_pytorch"


def network(name: str) -> tuple[torch.nn.Module, str]:
    """Returns a network, and which package it is from."""
    if importlib.util.find_spec(_PEER):
        return smp_networks.build(*name.split(":")), _PEER
    return torch_networks.build(name), f"rebuilt in torch.nn: no {_PEER}"


def prepare(settings: Settings):
    """Builds, compiles and warms up; see `prepared.serve`."""
    device = torch.device("cpu" if settings.cpu else "cuda")
    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    model, source = network(settings.network)
    model = model.to(device)
    gflop = _gflop(model, settings.size, device)
    # Before it is compiled: the optimizer is given the plain module's parameters.
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    called = model
    if settings.compiled:
        # The whole code but for code generation, which takes minutes on a CPU.
        backend = "aot_eager" if settings.cpu else "inductor"
        called = torch.compile(model, backend=backend)
    images, masks = (
        torch.from_numpy(array).permute(0, 3, 1, 2).to(device)
        for array in training_peer_sides.batch(settings.size, settings.batch)
    )
    phases = {
        gpu_ours.RESIDENT: _training(called, model, optimizer, images, masks, settings),
        gpu_ours.PREDICT: _prediction(called, model, images, settings),
    }
    product = _product(settings, device)
    losses = [phase()[0] for phase in phases.values() for _ in range(2)]
    product()

    def measure():
        count = settings.batch * settings.steps
        found = gpu_ours.timed(phases, count, *_memory(settings))
        return found | {gpu_ours.PRODUCT: product()}

    facts = {
        "gflop": gflop,
        "first losses": losses,
        "framework": f"torch {torch.__version__}, {source}",
    }
    return measure, facts


def _gflop(model, size: int, device) -> float:
    model.eval()
    return arithmetic.of_torch(model, torch.zeros(1, 1, size, size, device=device))


def _autocast(settings: Settings):
    return torch.autocast("cpu" if settings.cpu else "cuda", torch.bfloat16)


def _scaled(images: torch.Tensor) -> torch.Tensor:
    return (images.float() / 255).contiguous(memory_format=torch.channels_last)


def _training(called, model, optimizer, images, masks, settings) -> gpu_ours.Phase:
    def phase():
        model.train()
        for _ in range(settings.steps):
            optimizer.zero_grad(set_to_none=True)
            with _autocast(settings):
                logits = called(_scaled(images))
            loss = smp_networks.soft_dice_and_entropy(logits.float(), masks.float())
            loss.backward()
            optimizer.step()
        return loss.item(), None  # Fetching it waits for the device.

    return phase


def _prediction(called, model, images, settings) -> gpu_ours.Phase:
    def phase():
        model.eval()
        with torch.inference_mode(), _autocast(settings):
            for _ in range(settings.steps):
                found = torch.sigmoid(called(_scaled(images)).float())
            return found.mean().item(), None

    return phase


def _product(settings: Settings, device):
    side = settings.product
    a = torch.rand(side, side, device=device).to(torch.bfloat16)

    def run():
        torch.mm(a, a)[0, 0].item()
        started = time.perf_counter()
        for _ in range(10):
            found = torch.mm(a, a)
        found[0, 0].item()
        return 10 * 2 * side**3 / (time.perf_counter() - started) / 1e12

    return run


def _memory(settings: Settings):
    """Returns functions that return the peak of device memory, and that reset it."""
    if settings.cpu:
        return (lambda: 0), contextlib.nullcontext
    return torch.cuda.max_memory_allocated, torch.cuda.reset_peak_memory_stats


def main() -> None:
    settings = Settings(**json.loads(sys.argv[2]))
    prepared.serve(lambda: prepare(settings))


if __name__ == "__main__":
    main()
