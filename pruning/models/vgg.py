"""VGG in the CIFAR form of the SynFlow paper: 3x3 convolutions with bias, one linear classifier."""

from torch import nn

from pruning.models.initialise import kaiming_normal

# channels of the convolutions between the pools
_STAGES = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    13: ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    19: ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}


def vgg(depth: int, norm: bool, classes: int) -> nn.Sequential:
    """VGG-11, 13, 16 or 19 for 3x32x32 inputs: four 2x2 max-pools, then a 2x2 average pool."""
    layers: list[nn.Module] = []
    channels = 3
    for number, stage in enumerate(_STAGES[depth]):
        if number:
            layers.append(nn.MaxPool2d(2))
        for width in stage:
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
            channels = width
    model = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(channels, classes))
    kaiming_normal(model)
    return model
