"""The PyTorch side: networks of segmentation-models-pytorch, channels last."""

import sys

import torch


def build(architecture: str, encoder: str) -> torch.nn.Module:
    """Returns a network from [B, 1, S, S] to logits of the same shape, untrained.

    Args:
      architecture: a class of segmentation-models-pytorch, such as "UnetPlusPlus".
      encoder: an encoder's name, such as "efficientnet-b4".
    """
    _let_torchvision_load()
    import segmentation_models_pytorch as smp

    make = getattr(smp, architecture)
    model = make(encoder, encoder_weights=None, in_channels=1, classes=1)
    return model.to(memory_format=torch.channels_last)


def soft_dice_and_entropy(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The loss of our side, `bce(1)+dice(1)`; both inputs are [B, 1, S, S]."""
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    probability = torch.sigmoid(logits)
    overlap = (truth * probability).sum(dim=(1, 2, 3))
    total = (truth + probability).sum(dim=(1, 2, 3))
    return entropy + (1 - (2 * overlap + 1) / (total + 1)).mean()


def _let_torchvision_load() -> None:
    """Declares the ops that a torchvision built for another torch looks up at import.

    PyPI's torchvision is linked with CUDA and does not load with a torch without CUDA;
    the networks need none of its operators.
    """
    try:
        import torchvision  # noqa: F401 - only whether it loads
    except RuntimeError:
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor b, Tensor s, float t) -> Tensor")
        _KEPT.append(library)


# Declarations disappear when their torch.library.Library is garbage-collected.
_KEPT: list[torch.library.Library] = []
