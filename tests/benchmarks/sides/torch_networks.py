"""Networks of segmentation-models-pytorch, rebuilt with torch.nn alone.

For machines that have PyTorch but not that package. The layers, their widths and order,
and so the arithmetic, are those of its `UnetPlusPlus` on EfficientNet-B4 and of its
`Unet` on ResNet-34 with random weights; tests/benchmarks/test_gpu_benchmark.py counts
both where it is installed. Strided convolutions pad both sides alike, which changes no
size.

Sources: https://github.com/qubvel-org/segmentation_models.pytorch (MIT); EfficientNet
https://arxiv.org/abs/1905.11946; U-Net++ https://arxiv.org/abs/1807.10165.
"""

import torch
from torch import nn

_DECODER = (256, 128, 64, 32, 16)
# Width and depth of EfficientNet-B4: repeats, kernel, stride, expansion, channels.
_B4_STEM = 48
_B4_STAGES = (
    (2, 3, 1, 1, 24),
    (4, 3, 2, 6, 32),
    (4, 5, 2, 6, 56),
    (6, 3, 2, 6, 112),
    (6, 5, 1, 6, 160),
    (8, 5, 2, 6, 272),
    (2, 3, 1, 6, 448),
)
# The stages whose outputs the decoder gets, after that of the stem.
_B4_SKIPS = (1, 2, 4, 6)
_B4_CHANNELS = (48, 32, 56, 160, 448)
_DROP_CONNECT = 0.2
_RESNET34_STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
_RESNET34_CHANNELS = (64, 64, 128, 256, 512)


class _Conv(nn.Sequential):
    """A convolution without bias, batch norm, and an activation if one is given."""

    def __init__(self, inputs, outputs, kernel, *, stride=1, groups=1, activation=None):
        layers = [
            nn.Conv2d(
                inputs,
                outputs,
                kernel,
                stride,
                padding=kernel // 2,
                groups=groups,
                bias=False,
            ),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([activation] if activation else []))


class _MBConv(nn.Module):
    """EfficientNet's block: expand, depthwise, squeeze and excite, project."""

    def __init__(self, inputs, outputs, *, kernel, stride, expansion, drop):
        super().__init__()
        wide = inputs * expansion
        self.expand = nn.Identity()
        if expansion > 1:
            self.expand = _Conv(inputs, wide, 1, activation=nn.SiLU())
        self.depthwise = _Conv(
            wide, wide, kernel, stride=stride, groups=wide, activation=nn.SiLU()
        )
        squeezed = max(1, inputs // 4)
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(wide, squeezed, 1),
            nn.SiLU(),
            nn.Conv2d(squeezed, wide, 1),
            nn.Sigmoid(),
        )
        self.project = _Conv(wide, outputs, 1)
        self.skips, self.drop = stride == 1 and inputs == outputs, drop

    def forward(self, x):
        y = self.depthwise(self.expand(x))
        y = self.project(self.excite(y) * y)
        if not self.skips:
            return y
        if self.training and self.drop:
            keep = 1 - self.drop
            shape = (x.shape[0], 1, 1, 1)
            kept = torch.floor(keep + torch.rand(shape, dtype=y.dtype, device=y.device))
            y = y / keep * kept
        return x + y


class EfficientNetB4(nn.Module):
    """[B, 1, S, S] to features at 1/2, 1/4, ... 1/32 of the size."""

    channels = _B4_CHANNELS

    def __init__(self):
        super().__init__()
        self.stem = _Conv(1, _B4_STEM, 3, stride=2, activation=nn.SiLU())
        total = sum(stage[0] for stage in _B4_STAGES)
        stages, inputs, number = [], _B4_STEM, 0
        for repeats, kernel, stride, expansion, outputs in _B4_STAGES:
            blocks = []
            for k in range(repeats):
                blocks.append(
                    _MBConv(
                        inputs,
                        outputs,
                        kernel=kernel,
                        stride=1 if k else stride,
                        expansion=expansion,
                        drop=_DROP_CONNECT * number / total,
                    )
                )
                inputs, number = outputs, number + 1
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, x):
        x = self.stem(x)
        features = [x]
        for k, stage in enumerate(self.stages):
            x = stage(x)
            if k in _B4_SKIPS:
                features.append(x)
        return features


class _Basic(nn.Module):
    """ResNet's block of two 3x3 convolutions."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = _Conv(inputs, outputs, 3, stride=stride, activation=nn.ReLU(True))
        self.second = _Conv(outputs, outputs, 3)
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = _Conv(inputs, outputs, 1, stride=stride)

    def forward(self, x):
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


class ResNet34(nn.Module):
    """[B, 1, S, S] to features at 1/2, 1/4, ... 1/32 of the size."""

    channels = _RESNET34_CHANNELS

    def __init__(self):
        super().__init__()
        self.stem = _Conv(1, 64, 7, stride=2, activation=nn.ReLU(True))
        self.pool = nn.MaxPool2d(3, 2, 1)
        stages, inputs = [], 64
        for repeats, outputs, stride in _RESNET34_STAGES:
            blocks = [_Basic(inputs, outputs, stride)]
            blocks += [_Basic(outputs, outputs, 1) for _ in range(repeats - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.stages = nn.ModuleList(stages)

    def forward(self, x):
        features = [self.stem(x)]
        x = self.pool(features[0])
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class _Up(nn.Module):
    """Doubles the size, appends the skips, and has two 3x3 convolutions."""

    def __init__(self, inputs, skips, outputs):
        super().__init__()
        self.first = _Conv(inputs + skips, outputs, 3, activation=nn.ReLU(True))
        self.second = _Conv(outputs, outputs, 3, activation=nn.ReLU(True))

    def forward(self, x, *skips):
        x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.second(self.first(torch.cat([x, *skips], dim=1)))


class Unet(nn.Module):
    """An encoder, five steps up with one skip each but the last, and the head."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        deep, *skips = encoder.channels[::-1]
        self.ups = nn.ModuleList()
        for skip, outputs in zip([*skips, 0], _DECODER, strict=True):
            self.ups.append(_Up(deep, skip, outputs))
            deep = outputs
        self.head = nn.Conv2d(_DECODER[-1], 1, 3, padding=1)

    def forward(self, x):
        x, *skips = self.encoder(x)[::-1]
        for up, skip in zip(self.ups, [*skips, None], strict=True):
            x = up(x, *([] if skip is None else [skip]))
        return self.head(x)


class UnetPlusPlus(nn.Module):
    """U-Net++: between encoder and decoder a triangle of densely connected nodes.

    Node (i, j) is the one from depth i to depth j, counted from the deepest feature;
    it gets node (i, j - 1) from below and all nodes of its own size as skips.
    """

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        deepest, *skips = encoder.channels[::-1]
        self.depth = len(skips)
        nodes = {}
        for j, skip in enumerate(skips):
            below = [deepest, *_DECODER][j]
            nodes[f"0_{j}"] = _Up(below, skip * (j + 1), _DECODER[j])
            for i in range(1, j + 1):
                nodes[f"{i}_{j}"] = _Up(skips[j - 1], skip * (j + 1 - i), skip)
        self.nodes = nn.ModuleDict(nodes)
        self.last = _Up(_DECODER[self.depth - 1], 0, _DECODER[self.depth])
        self.head = nn.Conv2d(_DECODER[self.depth], 1, 3, padding=1)

    def forward(self, x):
        features = self.encoder(x)[::-1]
        made = {}
        for distance in range(self.depth):
            for i in range(self.depth - distance):
                j = i + distance
                below = made[i, j - 1] if distance else features[i]
                beside = [made[k, j] for k in range(i + 1, j + 1)]
                node = self.nodes[f"{i}_{j}"]
                made[i, j] = node(below, *beside, features[j + 1])
        return self.head(self.last(made[0, self.depth - 1]))


_NETWORKS = {
    "UnetPlusPlus:efficientnet-b4": lambda: UnetPlusPlus(EfficientNetB4()),
    "Unet:resnet34": lambda: Unet(ResNet34()),
}


def build(network: str) -> nn.Module:
    """Returns a network from [B, 1, S, S] to logits of the same shape, untrained.

    Args:
      network: architecture and encoder as segmentation-models-pytorch names them.
    """
    return _NETWORKS[network]().to(memory_format=torch.channels_last)
