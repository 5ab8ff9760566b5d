"""Encoder of the U-Net made of a convolutional network of the library timm.

Source of the idea: Piggyback (Mallya et al., ECCV 2018) masks networks pretrained on ImageNet.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.layers import padding as timm_padding
from torch import Tensor, nn

from palimpsest.errors import DataError, SettingsError, unknown_name
from palimpsest.networks.convolution import PaddingMode
from palimpsest.networks.receptive_field import reach
from palimpsest.networks.trunk import trunk_layers
from palimpsest.networks.unet import Encoder, Stage, UNet, initialise


class BackboneEncoder(Encoder):
    """Features of a network of timm at its scales, and of a `Stage` with ``width`` channels at full resolution.

    All weights are random at first; see `load_weights`.

    Raises:
        SettingsError: timm has no such network, it has other layers than convolutions, or layers without padding.
    """

    mean: Tensor
    std: Tensor
    """Mean and standard deviation of the pictures that the weights expect, on the scale [−1, 1], (1, 3, 1, 1)."""

    def __init__(self, name: str, width: int, padding: PaddingMode) -> None:
        super().__init__()
        self.name = name
        self.backbone: Any = create(name)
        linear = [key for key, layer in trunk_layers(self.backbone) if isinstance(layer, nn.Linear)]
        if linear:
            raise SettingsError(
                f"network.encoder: {name} has a layer that is no convolution ({linear[0]}); choose a network of "
                "convolutions"
            )
        for layer in self.backbone.modules():
            if isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels:
                DepthwiseInFloat32(layer)
        channels = dict(
            zip(self.backbone.feature_info.reduction(), self.backbone.feature_info.channels(), strict=True)
        )
        self.full = nn.Identity() if 1 in channels else Stage(3, width, padding)
        self.scales = [2**level for level in range(max(channels).bit_length())]
        self.channels = [channels.get(scale, width if scale == 1 else 0) for scale in self.scales]
        check_sides(name, self.backbone, self.scales[-1])
        initialise(self.full)
        self.norms = nn.ModuleDict({str(scale): nn.BatchNorm2d(number) for scale, number in channels.items()})
        mean, std = (torch.tensor(self.backbone.default_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        self.register_buffer("mean", 2 * mean - 1, persistent=False)
        self.register_buffer("std", 2 * std, persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of pictures (N, 3, H, W) in [−1, 1] at each scale.

        Those of scale i are (N, channels[i], H / 2ⁱ, W / 2ⁱ). A scale at which the network of timm has no features
        has 0 channels.

        The features of EfficientNet-Lite0 have standard deviations of 3 to 8. In the decoder, they would hide those
        of the coarser scale, whose standard deviation is 0.6 at first; so BatchNorm brings all to 1.
        """
        extracted = self.backbone((x - self.mean) / self.std)
        features = {
            scale: self.norms[str(scale)](feature)
            for scale, feature in zip(self.backbone.feature_info.reduction(), extracted, strict=True)
        }
        if 1 not in features:
            features[1] = self.full(x)
        height, width = x.shape[-2:]
        return [
            features[scale] if scale in features else x.new_empty(len(x), 0, height // scale, width // scale)
            for scale in self.scales
        ]


class DepthwiseInFloat32:
    """Hooks on a depthwise convolution, which then computes in float32 on the CPU under automatic mixed precision.

    In bfloat16 its backward pass takes three to eight times as long with a stride of 2 (PyTorch 2.14, oneDNN): a
    step with EfficientNet-Lite0 takes a quarter longer.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        self._switched_off = ExitStack()
        layer.register_forward_pre_hook(self.disable_autocast)
        layer.register_forward_hook(self.restore_autocast, always_call=True)

    def disable_autocast(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor] | None:
        """Switch autocast off and return the input in float32, if the layer is on the CPU under autocast."""
        if inputs[0].device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return None
        self._switched_off.enter_context(torch.autocast("cpu", enabled=False))
        return (inputs[0].float(),)

    def restore_autocast(self, *forward: object) -> None:
        """Switch autocast on again, if `disable_autocast` switched it off."""
        self._switched_off.close()


class BackboneUNet(UNet):
    """U-Net over a network of timm; ``width`` counts the channels of the full-resolution stage and the decoder."""

    backbone = "encoder.backbone"

    def __init__(self, width: int, head_channels: int, padding: PaddingMode, encoder: str) -> None:
        backbone = BackboneEncoder(encoder, width, padding)
        super().__init__(width, head_channels, padding, backbone)
        self.stride = backbone.scales[-1]

    def load_initial(self, path: Path) -> None:
        """Copy the weights of timm's network from a file into the encoder, in place; see `load_weights`."""
        assert isinstance(self.encoder, BackboneEncoder)
        load_weights(self.encoder, path)

    @contextmanager
    def constant_padding(self) -> Iterator[None]:
        """Compute TensorFlow's padding "same" from kernel and stride alone, within the context.

        The sides of a picture are multiples of the network's stride, so those of each layer's input are multiples
        of the layer's stride, and the padding does not change. The export does not end with timm's rounding of
        symbolic sides in each layer (PyTorch 2.14).
        """
        original = timm_padding.get_same_padding
        timm_padding.get_same_padding = constant_same_padding
        try:
            yield
        finally:
            timm_padding.get_same_padding = original

    @cached_property  # it takes a second, and only windows need it
    def reach(self) -> int | None:  # type: ignore[override]
        """Receptive field beyond a window, in pixels; None if the output depends on the whole picture."""
        return reach(self, self.stride)


def constant_same_padding(x: int, kernel_size: int, stride: int, dilation: int) -> int:
    """Return the padding "same" of an axis, both ends together, whose side ``x`` is a multiple of the stride."""
    return max((kernel_size - 1) * dilation + 1 - stride, 0)


def create(name: str, **options: Any) -> Any:
    """Return the network of timm with this name as an extractor of its features at all scales.

    Without ``options``, those of `timm.create_model`, the weights are random.

    Raises:
        SettingsError: timm has no such network, or no features of it.
    """
    if not timm.is_model(name):
        raise SettingsError(f"network.encoder: {unknown_name(name, timm.list_models(), 'network of timm')}")
    # It warns of the tensors of the classifier, which no encoder has.
    logging.getLogger("timm.models._builder").setLevel(logging.ERROR)
    try:
        return timm.create_model(name, features_only=True, **options)
    except (AssertionError, AttributeError, TypeError, NotImplementedError) as error:
        raise SettingsError(
            f"network.encoder: timm gives no features of {name} ({error}); choose another"
        ) from error


def check_sides(name: str, backbone: Any, stride: int) -> None:
    """Check that the features of a network of timm at scale s have the sides of the picture divided by s.

    ``stride`` is the coarsest scale. Layers without padding, as in Inception, give smaller features, which do not
    fit those of the decoder.

    Raises:
        SettingsError: features have other sides, or the network cannot translate pictures of two strides.
    """
    training, side = backbone.training, 2 * stride
    advice = f"network.encoder: {name} has layers without padding; choose another network"
    try:
        with torch.no_grad():
            features = backbone.eval()(torch.zeros(1, 3, side, side))
    except RuntimeError as error:
        raise SettingsError(advice) from error
    finally:
        backbone.train(training)
    for scale, feature in zip(backbone.feature_info.reduction(), features, strict=True):
        if feature.shape[-1] * scale != side:
            raise SettingsError(advice)


def load_weights(encoder: BackboneEncoder, path: Path) -> None:
    """Copy the weights of timm's network from a file into an encoder, in place.

    The file is `.safetensors`, or a `.pth` with a state dict. Tensors of a classifier are ignored.

    Raises:
        DataError: the file cannot be read, or lacks a tensor of the encoder; the message names the setting
            `network.encoder_weights`.
    """
    advice = f"set network.encoder_weights to a file with timm's weights of {encoder.name}"
    try:
        state = timm.models.load_state_dict(str(path))
        pretrained = create(encoder.name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}).state_dict()
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, AttributeError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise DataError(f"{path}: no readable weights ({reason}); {advice}") from error
    contained = {tensor.float().flatten().numpy().tobytes() for tensor in state.values()}
    for key, tensor in pretrained.items():  # timm skips a missing tensor silently
        if tensor.is_floating_point() and tensor.flatten().numpy().tobytes() not in contained:
            raise DataError(f"{path}: {key} is missing; {advice}")
    encoder.backbone.load_state_dict(pretrained)
