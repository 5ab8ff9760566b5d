"""Masks of one bit per weight: a parametrization over frozen weights, and its packed form.

During training each weight w has a real-valued score s, and the layer computes with w · [s > threshold]. The step
function has no useful derivative, so its gradient passes unchanged (straight-through): if g is the gradient of the
masked weight, the score receives g · w. One bit per weight is stored.
Source: Mallya, Davis and Lazebnik, Piggyback, ECCV 2018.
Settings replace the unchanged gradient by another surrogate (Bengio et al. 2013; Yin et al. 2019).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from palimpsest.errors import StorageError
from palimpsest.methods.masks_settings import MaskSettings, ScoreSettings
from palimpsest.methods.reparametrised import LayerWeight, layer_in_errors
from palimpsest.networks.buffers import buffer_of, join

SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "clipped": lambda distance: distance.abs() <= 1,
    "sigmoid": lambda distance: 4 * distance.sigmoid() * (-distance).sigmoid(),
}
"""Surrogate derivatives of the step function by name: functions of the score's distance from the threshold, in
units of its initial distance. The derivative of a surrogate without an entry is 1."""


class _Masked(torch.autograd.Function):
    """Function with the value weight · [score > threshold]; the score's gradient uses the settings' surrogate."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, score: Tensor, settings: MaskSettings) -> Tensor:
        ctx.save_for_backward(weight, score)
        ctx.settings = settings
        # the gradient of max(score, threshold) times weight is the masked weight, computed in one pass over memory
        masked: Tensor = torch.ops.aten.threshold_backward(weight, score, settings.threshold)
        return masked

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        weight, score = ctx.saved_tensors
        settings = ctx.settings
        gradient = gradient * (weight if settings.weight_factor else weight.sign())
        if settings.surrogate in SURROGATES:
            width = settings.initial_score - settings.threshold
            gradient = gradient * SURROGATES[settings.surrogate]((score - settings.threshold) / width)
        return None, gradient, None


class Mask(LayerWeight):
    """Base class of the parametrizations of one layer by a mask with a trainable score per weight."""

    settings: ScoreSettings
    mean: Tensor
    """Mean of the scores over the steps averaged so far; only with the setting `averaged`."""
    averaged_steps: Tensor
    """Number of the steps averaged so far, a scalar."""

    def __init__(self, score: Tensor, settings: ScoreSettings) -> None:
        super().__init__()
        self.score = nn.Parameter(score)
        self.settings = settings
        if settings.averaged:  # buffers, so that checkpoints contain them
            self.register_buffer("mean", torch.zeros_like(score))
            self.register_buffer("averaged_steps", torch.zeros((), device=score.device))

    @torch.no_grad()
    def update_average(self) -> None:
        """Include the current scores in their mean."""
        self.averaged_steps += 1
        self.mean += (self.score - self.mean) / self.averaged_steps

    @torch.no_grad()
    def apply_average(self) -> None:
        """Replace the scores by their mean."""
        self.score.copy_(self.mean)


class BinaryMask(Mask):
    """Parametrization of one layer: weight · [score > threshold], with trainable scores."""

    settings: MaskSettings

    def forward(self, weight: Tensor) -> Tensor:
        """Return the masked weight."""
        masked: Tensor = _Masked.apply(weight, self.score, self.settings)
        return masked

    @property
    def bits(self) -> Tensor:
        """Mask, bool in the shape of the weight."""
        return self.score.detach() > self.settings.threshold

    def stored(self) -> dict[str, Tensor]:
        """Return the packed mask as ``mask``."""
        return {"mask": pack(self.bits)}


def initial_scores(weight: Tensor, settings: ScoreSettings) -> Tensor:
    """Return initial scores, all above the threshold, so that the mask is all ones; in the shape of the weight.

    They are constant (original), or their distance from the threshold is proportional to the weight's magnitude.
    Adam moves all scores by similar steps, whatever their gradients: after a constant start, large weights are
    masked as soon as small ones. The scores of the smallest weights start just above the threshold.
    """
    distance = settings.initial_score - settings.threshold
    if settings.start == "constant":
        return torch.full_like(weight, settings.initial_score)
    magnitude = weight.abs()
    share = magnitude / magnitude.mean().clamp(min=torch.finfo(weight.dtype).tiny)
    return settings.threshold + distance * share.clamp(min=1e-3)


def pack(mask: Tensor) -> Tensor:
    """Return a bool mask of any shape as bits on the CPU, uint8 (⌈weights / 8⌉,).

    The highest bit of a byte is its first weight.
    """
    return torch.from_numpy(np.packbits(mask.contiguous().cpu().numpy().reshape(-1)))


def unpack(bits: Tensor, shape: torch.Size) -> Tensor:
    """Return the bool mask that `pack` packed, in ``shape``, on the device of the bits.

    Raises:
        StorageError: the number of bytes does not fit the shape.
    """
    check_bytes(bits, shape)
    if bits.device.type == "cpu":  # NumPy takes a tenth of the time
        unpacked = np.unpackbits(bits.numpy(), count=shape.numel())
        return torch.from_numpy(unpacked).view(torch.bool).reshape(shape)
    bit_values = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bits.device)
    return (bits[:, None] & bit_values).flatten()[: shape.numel()].bool().reshape(shape)


def check_bytes(bits: Tensor, shape: torch.Size) -> None:
    """Check that a packed mask has as many bytes as a weight of this shape needs.

    Raises:
        StorageError: the number of bytes differs, or the tensor has another type than uint8.
    """
    if bits.dtype != torch.uint8:
        raise StorageError(f"expected a mask of the type {torch.uint8}, found {bits.dtype}")
    if bits.numel() != -(-shape.numel() // 8):
        raise StorageError(f"expected a mask of {-(-shape.numel() // 8)} bytes, found {bits.numel()}")


PLANES = 32
"""Number of parts of equal length of a buffer of weights; a word of `bit_planes` has a bit for each."""

MaskedLayer = tuple[str, Tensor, Tensor, Tensor]
"""Name of a layer and its tensors: output for the masked weight, weight of the base, packed mask."""


@torch.no_grad()
def mask_writer(layers: Iterable[MaskedLayer]) -> Callable[[], None]:
    """Return a function that writes the masked weight of each layer to its output, in place.

    Outputs and weights are contiguous float32. If the outputs lie in one buffer and the weights in another
    (`join`), the function masks all weights at once and keeps only one bit per weight. Otherwise it goes layer by
    layer. On the CPU both ways combine words of 32 bits, because PyTorch's selection by a bool mask takes ten times
    as long as a copy. Removed weights are +0, as in training.

    Raises:
        StorageError: the number of bytes of a mask does not fit its layer; the message names the layer.
    """
    names, outputs, weights, packed = zip(*layers, strict=True)
    for name, weight, bits in zip(names, weights, packed, strict=True):
        with layer_in_errors(name):
            check_bytes(bits, weight.shape)
    target, source = buffer_of(outputs), buffer_of(weights)
    if target is None or source is None:
        return partial(write_layers, [output.detach() for output in outputs], weights, packed)
    masks = [unpack(bits, weight.shape) for weight, bits in zip(weights, packed, strict=True)]
    shifts = torch.arange(PLANES, dtype=torch.int32, device=source.device)[:, None]
    words, base_words = (buffer.view(torch.int32).view(PLANES, -1) for buffer in (target, source))
    return partial(write_planes, words, base_words, bit_planes(join(masks)), shifts)


def write_layers(outputs: Sequence[Tensor], weights: Sequence[Tensor], packed: Sequence[Tensor]) -> None:
    """Write masked weights layer by layer."""
    for output, weight, bits in zip(outputs, weights, packed, strict=True):
        mask = unpack(bits, weight.shape)
        if output.device.type == "cpu":
            source, target = (tensor.view(torch.int32).numpy() for tensor in (weight, output))
            np.multiply(source, mask.numpy().view(np.uint8), out=target)
        else:
            output.copy_(torch.where(mask, weight, 0.0))


def bit_planes(mask: Tensor) -> Tensor:
    """Return a flat bool mask as bits, int32 (weights / `PLANES`,), on the device of the mask; 1 removes a weight.

    The mask has `PLANES` parts of equal length. Word j has the bits of the j-th weights of all parts, that of the
    first part in the highest bit. So a shift of whole words, without any selection of bits, gives every weight of a
    part its bit as the sign of a word.
    """
    removed = np.ascontiguousarray(~mask.cpu().numpy().reshape(PLANES, -1).T)
    words = np.packbits(removed, axis=1).view(">i4").reshape(-1)
    return torch.from_numpy(words.astype(np.int32)).to(mask.device)


def write_planes(target: Tensor, source: Tensor, removed: Tensor, shifts: Tensor) -> None:
    """Write masked weights in two passes over all of them; all tensors are int32, weights with the bits of float32.

    ``target`` and ``source`` are (`PLANES`, n), ``removed`` (n,) is that of `bit_planes`, ``shifts`` (`PLANES`, 1)
    are 0, 1, 2, ….
    """
    torch.bitwise_left_shift(removed, shifts, out=target)
    # the gradient of max(target, −1) times the source is the source where the sign is clear, and 0 elsewhere
    torch.ops.aten.threshold_backward.grad_input(source, target, -1, grad_input=target)
