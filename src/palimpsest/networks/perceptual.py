"""Frozen networks whose features describe the content and the style of pictures.

`PERCEPTUAL_NETWORKS` lists them by name. Each takes RGB pictures (N, 3, H, W), float in [0, 1], H and W at least
32, and normalises them. Weights have no gradients, and `train()` has no effect. `squeezenet` and `vgg16` read
weights trained on ImageNet from a file; `random` needs no file.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest.errors import DataError


class Features(NamedTuple):
    """Features of N pictures in a perceptual network: one tensor (N, C, H, W) per layer."""

    content: list[Tensor]
    """Features that describe the content of a picture."""
    style: list[Tensor]
    """Features whose Gram matrices describe the style of a picture."""


class PerceptualNetwork(nn.Module, ABC):
    """Base class of frozen networks that map pictures, float (N, 3, H, W) in [0, 1], to `Features`."""

    @abstractmethod
    def forward(self, pictures: Tensor) -> Features:
        """Return the content and style features of pictures."""

    @abstractmethod
    def content(self, pictures: Tensor) -> list[Tensor]:
        """Return `Features.content` of pictures without computing the style features."""

    def freeze(self) -> Self:
        """Set evaluation mode, disable gradients of the weights, and return the network."""
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever ``mode`` is, since parent modules call `train`; return the network."""
        return super().train(False)


class PretrainedFeatures(PerceptualNetwork):
    """First layers of a torchvision classification network, up to the last content or style layer.

    ``content`` and ``style`` are the indices of the content and style layers among ``layers``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, layers: nn.Sequential, content: tuple[int, ...], style: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = layers[: max(*content, *style) + 1]
        self.content_layers = content
        self.style_layers = style
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)
        self.freeze()

    def forward(self, pictures: Tensor) -> Features:
        """Return the output of each content and style layer, (N, C, H / 2ⁱ, W / 2ⁱ) after i poolings."""
        features = self._after({*self.content_layers, *self.style_layers}, pictures)
        return Features([features[i] for i in self.content_layers], [features[i] for i in self.style_layers])

    def content(self, pictures: Tensor) -> list[Tensor]:
        """Return the output of each content layer; later layers are not computed."""
        features = self._after(set(self.content_layers), pictures)
        return [features[i] for i in self.content_layers]

    def _after(self, numbers: set[int], pictures: Tensor) -> dict[int, Tensor]:
        x = (pictures - self.mean) / self.std
        features = {}
        for i, layer in enumerate(self.layers[: max(numbers) + 1]):
            x = layer(x)
            if i in numbers:
                features[i] = x
        return features


class RandomFilters(PerceptualNetwork):
    """One layer of fixed random filters at three scales, and random functions of the colour of single pixels.

    Gram matrices of the filters capture direction, size and contrast of strokes. Gram matrices of the colour
    functions capture the palette: second moments of `relu(w · colour + b)` distinguish colour distributions beyond
    mean and covariance. Content is brightness and its edges at half resolution, so that it does not constrain
    colours. After Ustyuzhaninov et al. 2016, *Texture synthesis using shallow convolutional networks with random
    filters*. A fixed seed gives the same filters in every run and on every machine.
    """

    SEED = 0
    COLOURS = 32
    """Number of functions of colour."""
    STROKES = 16
    """Number of filters."""
    SIZE = 7
    """Side of the filters in pixels."""
    SCALES = 3
    """Number of scales, each half as large as the one before."""

    to_opponent: Tensor
    colours: Tensor
    thresholds: Tensor
    strokes: Tensor
    edges: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(self.SEED)
        colours = unit_norm(torch.randn(self.COLOURS, 3, 1, 1, generator=generator))
        thresholds = 0.7 * torch.randn(self.COLOURS, generator=generator)
        strokes = windowed(torch.randn(self.STROKES, 3, self.SIZE, self.SIZE, generator=generator))
        self.register_buffer("to_opponent", OPPONENT[:, :, None, None] / OPPONENT_SPREAD, persistent=False)
        self.register_buffer("colours", colours, persistent=False)
        self.register_buffer("thresholds", thresholds, persistent=False)
        self.register_buffer("strokes", strokes, persistent=False)
        self.register_buffer("edges", unit_norm(strokes[:, :1]), persistent=False)
        self.freeze()

    def forward(self, pictures: Tensor) -> Features:
        """Return the features of pictures (N, 3, H, W).

        Content: one tensor (N, 18, H / 2, W / 2). Style: the colour functions (N, 32, H, W), then the filters at
        three scales (N, 16, H / 2ⁱ, W / 2ⁱ), i from 0 to 2.
        """
        x = self._opponent(pictures)
        style = [F.relu(F.conv2d(x, self.colours, self.thresholds))]
        scaled = x
        for _ in range(self.SCALES):
            style.append(self._responses(scaled, self.strokes))
            scaled = F.avg_pool2d(scaled, 2)
        return Features(self._brightness(x), style)

    def content(self, pictures: Tensor) -> list[Tensor]:
        """Return the content features: one tensor (N, 18, H / 2, W / 2)."""
        return self._brightness(self._opponent(pictures))

    def _opponent(self, pictures: Tensor) -> Tensor:
        return F.conv2d(pictures - MEAN_BRIGHTNESS, self.to_opponent)

    def _responses(self, x: Tensor, filters: Tensor) -> Tensor:
        # With zero padding every filter would respond to the border, and pictures would get rims.
        return F.relu(F.conv2d(F.pad(x, (self.SIZE // 2,) * 4, mode="reflect"), filters))

    def _brightness(self, x: Tensor) -> list[Tensor]:
        brightness = F.avg_pool2d(x[:, :1], 2)
        # The constant bounds the relative loss of uniform grey pictures, whose content has a norm near zero.
        constant = torch.full_like(brightness, 0.5)
        return [torch.cat([self._responses(brightness, self.edges), brightness / 2, constant], dim=1)]


OPPONENT = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1 / 2, -1 / 2, 0], [1 / 4, 1 / 4, -1 / 2]])
"""Matrix from RGB to brightness, red − green and yellow − blue, which are nearly uncorrelated in photographs
(Ruderman et al. 1998)."""

OPPONENT_SPREAD = torch.tensor([0.25, 0.07, 0.10])[:, None, None, None]
"""Standard deviations of the channels of `OPPONENT` in photographs, rounded. Division by them gives colour and
brightness equal weight."""

MEAN_BRIGHTNESS = 0.45
"""Value that is subtracted from each channel of RGB."""


def unit_norm(filters: Tensor) -> Tensor:
    """Return filters (C, D, K, K), each scaled to a Euclidean norm of 1."""
    norms: Tensor = torch.linalg.vector_norm(filters, dim=(1, 2, 3), keepdim=True)
    return filters / norms


def windowed(filters: Tensor) -> Tensor:
    """Return filters (C, 3, K, K) in a Gaussian window, with norm 1 and without response to uniform colour."""
    size = filters.shape[-1]
    offsets = torch.arange(size) - size // 2
    window = torch.exp(-((offsets / (size / 3)) ** 2))
    shaped = filters * window[:, None] * window
    return unit_norm(shaped - shaped.mean(dim=(2, 3), keepdim=True))


@dataclass(frozen=True)
class Architecture:
    """Torchvision network that can become a `PretrainedFeatures`."""

    title: str
    """Name in error messages."""
    build: Callable[[], nn.Sequential]
    """Function that returns the layers with random weights."""
    content: tuple[int, ...]
    """Indices of the content layers."""
    style: tuple[int, ...]
    """Indices of the style layers."""


def squeezenet_layers() -> nn.Sequential:
    """Return the feature layers of SqueezeNet 1.1 (Iandola et al. 2016), with random weights."""
    from torchvision.models import squeezenet1_1  # noqa: PLC0415 - slow to import

    return squeezenet1_1(weights=None).features  # type: ignore[no-any-return]


def vgg16_layers() -> nn.Sequential:
    """Return the convolutions of VGG-16 (Simonyan and Zisserman 2015) up to relu4_3, with random weights."""
    layers: list[nn.Module] = []
    before = 3
    for channels, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers[:-1])


SQUEEZENET = Architecture("SqueezeNet 1.1", squeezenet_layers, content=(6,), style=(1, 3, 4, 6, 7, 9, 10))
# relu3_3, and relu1_2, relu2_2, relu3_3, relu4_3, as in Johnson et al. 2016.
VGG16 = Architecture("VGG-16", vgg16_layers, content=(15,), style=(3, 8, 15, 22))


def pretrained(architecture: Architecture, weights: Path | None) -> PretrainedFeatures:
    """Return the frozen first layers of an architecture with the weights of a file.

    Raises:
        DataError: ``weights`` is None, or the file cannot be read or belongs to another architecture.
    """
    if weights is None:
        raise DataError(f"no weights file for the perceptual network {architecture.title}; set the path of one")
    network = PretrainedFeatures(architecture.build(), architecture.content, architecture.style)
    stored = read_weights(weights)
    state = network.layers.state_dict()
    for key, value in state.items():
        tensor = stored.get(f"features.{key}")
        if tensor is None or tensor.shape != value.shape:
            actual = "no such entry" if tensor is None else f"shape {tuple(tensor.shape)}"
            raise DataError(
                f"{weights}: not the weights of {architecture.title}: expected features.{key} of shape "
                f"{tuple(value.shape)}, found {actual}; replace the file"
            )
    network.layers.load_state_dict({key: stored[f"features.{key}"].float() for key in state})
    return network.freeze()


ARCHITECTURES = {"squeezenet": SQUEEZENET, "vgg16": VGG16}
"""Architectures by the name of the perceptual network."""


def network_of(weights: Path) -> str:
    """Return the name of the perceptual network that a weights file belongs to, a key of `ARCHITECTURES`.

    Raises:
        DataError: the file cannot be read or belongs to no such network.
    """
    read_weights(weights)
    for name, architecture in ARCHITECTURES.items():
        with suppress(DataError):
            pretrained(architecture, weights)
            return name
    titles = " or ".join(architecture.title for architecture in ARCHITECTURES.values())
    raise DataError(f"{weights}: not the weights of {titles}, as torchvision has them; name such a file")


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Return the tensors of a PyTorch weights file by name, on the CPU; no code in the file is executed.

    Raises:
        DataError: the file is missing, unreadable or contains anything but named tensors.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # the error below replaces them
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: the weights file does not exist; correct the path") from None
    except Exception as error:  # torch.load raises many types of error for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: not a readable PyTorch weights file ({reason}); fetch it again") from error
    if not isinstance(stored, Mapping) or not all(isinstance(value, Tensor) for value in stored.values()):
        kind = type(stored).__name__
        raise DataError(f"{path}: expected a state_dict of tensors, found {kind}; replace the file")
    return stored


PERCEPTUAL_NETWORKS: dict[str, Callable[[Path | None], PerceptualNetwork]] = {
    "random": lambda weights: RandomFilters(),
    "squeezenet": lambda weights: pretrained(SQUEEZENET, weights),
    "vgg16": lambda weights: pretrained(VGG16, weights),
}
"""Functions that build a perceptual network, by its name; they take the path of a weights file, which `random`
ignores."""
