"""The pipeline's networks in PyTorch, channels last, with the initial values of Keras."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def build(model: dict[str, Any], image_size: int, classes: int) -> nn.Module:
    """The network of the section ``model``, as far as the benchmark needs it: padding same, no dropout.

    It takes float32, shape (n, 3, image_size, image_size), values 0 to 1, and returns logits.
    """
    plain = model["family"] == "plain"
    network = _plain(model, image_size, classes) if plain else _Residual(model, classes)
    for layer in network.modules():  # PyTorch's own initial values learn otherwise in the first epoch
        if isinstance(layer, nn.Conv2d) and not plain:
            nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network.to(memory_format=torch.channels_last)


def _plain(model: dict[str, Any], size: int, classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for filters in model["filters"]:
        layers += [nn.Conv2d(channels, filters, model["kernel_size"], padding="same"), nn.ReLU()]
        layers += [nn.MaxPool2d(model["pool_size"])]
        channels, size = filters, size // model["pool_size"]
    width = channels * size * size
    layers.append(nn.Flatten())
    for dense in model["dense"]:
        layers += [nn.Linear(width, dense), nn.ReLU()]
        width = dense
    layers.append(nn.Linear(width, classes))
    return nn.Sequential(*layers)


def _convolution(channels: int, filters: int, pool: int = 1) -> nn.Sequential:
    pooling = [nn.MaxPool2d(pool)] if pool > 1 else []
    convolution = nn.Conv2d(channels, filters, 3, padding="same", bias=False)
    return nn.Sequential(convolution, *pooling, nn.BatchNorm2d(filters), nn.ReLU())


class _Block(nn.Module):  # type: ignore[misc]  # torch is checked as if it were not installed
    def __init__(self, filters: int, convolutions: int) -> None:
        super().__init__()
        self.added = nn.Sequential(*(_convolution(filters, filters) for _ in range(convolutions)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + self.added(x)
        return result


class _Residual(nn.Module):  # type: ignore[misc]
    def __init__(self, model: dict[str, Any], classes: int) -> None:
        super().__init__()
        channels, layers = model["stem"], [_convolution(3, model["stem"])]
        for filters, blocks, pool in zip(model["filters"], model["blocks"], model["pool_sizes"], strict=True):
            layers.append(_convolution(channels, filters, pool))
            layers += [_Block(filters, model["convolutions"]) for _ in range(blocks)]
            channels = filters
        self.features, self.maximum = nn.Sequential(*layers), model["global_pooling"] == "max"
        self.classify = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.features(images)
        logits: torch.Tensor = self.classify(x.amax((2, 3)) if self.maximum else x.mean((2, 3)))
        return logits
