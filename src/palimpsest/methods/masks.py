"""Masks of one bit per weight: a parametrization over frozen convolutions, and its packed form.

While a task is learned each weight w has a real-valued score s, and the layer computes with w · [s > threshold].
The step function has no useful derivative, so its gradient is passed on unchanged (straight-through): with g
the gradient of the masked weight, the score receives g · w. Stored is one bit per weight.
Source: Mallya, Davis and Lazebnik, Piggyback, ECCV 2018.
Settings replace the unchanged gradient by another surrogate (Bengio et al. 2013; Yin et al. 2019).
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from palimpsest.errors import StorageError
from palimpsest.methods.masks_settings import MaskSettings
from palimpsest.methods.reparametrised import LayerWeight

SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "clipped": lambda distance: distance.abs() <= 1,
    "sigmoid": lambda distance: 4 * distance.sigmoid() * (-distance).sigmoid(),
}
"""The derivative that stands in for the step's, at a distance from the threshold; 1 for what is not named here."""


class _Masked(torch.autograd.Function):
    """weight · [score > threshold]; the score's gradient is what the settings say stands in for the derivative."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, score: Tensor, settings: MaskSettings) -> Tensor:
        ctx.save_for_backward(weight, score)
        ctx.settings = settings
        # the derivative of max(score, threshold), times weight: what is wanted, in one pass over the memory
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


class BinaryMask(LayerWeight):
    """weight → weight · [score > threshold], with a score that can be trained."""

    mean: Tensor
    """Mean of the scores of the averaged steps."""
    averaged_steps: Tensor
    """Number of those steps."""

    def __init__(self, score: Tensor, settings: MaskSettings) -> None:
        super().__init__()
        self.score = nn.Parameter(score)
        self.settings = settings
        if settings.averaged:  # buffers, so that an interrupted training goes on with them
            self.register_buffer("mean", torch.zeros_like(score))
            self.register_buffer("averaged_steps", torch.zeros((), device=score.device))

    def forward(self, weight: Tensor) -> Tensor:
        """Any shape; the same shape."""
        masked: Tensor = _Masked.apply(weight, self.score, self.settings)
        return masked

    @property
    def bits(self) -> Tensor:
        """The mask, bool in the shape of the weight."""
        return self.score.detach() > self.settings.threshold

    def stored(self) -> dict[str, Tensor]:
        """Return the mask, packed."""
        return {"mask": pack(self.bits)}

    @torch.no_grad()
    def update_average(self) -> None:
        """Take the scores as they are now into their mean."""
        self.averaged_steps += 1
        self.mean += (self.score - self.mean) / self.averaged_steps

    @torch.no_grad()
    def apply_average(self) -> None:
        """Put the mean in the scores' place."""
        self.score.copy_(self.mean)


def initial_scores(weight: Tensor, settings: MaskSettings) -> Tensor:
    """Return the scores with which a mask of ones starts, in the shape of the weight.

    Constant as in the original, or as far above the threshold as the weight's magnitude is in its layer. Adam
    moves every score at the same pace, whatever its gradient: with a constant start, large weights are lost as
    soon as small ones. The smallest weights start a hair above the threshold, so that the mask is all ones.
    """
    room = settings.initial_score - settings.threshold
    if settings.start == "constant":
        return torch.full_like(weight, settings.initial_score)
    magnitude = weight.abs()
    share = magnitude / magnitude.mean().clamp(min=torch.finfo(weight.dtype).tiny)
    return settings.threshold + room * share.clamp(min=1e-3)


def pack(mask: Tensor) -> Tensor:
    """Return a bool mask as bits, eight in a byte, first weight in the highest bit: uint8 (⌈weights / 8⌉,)."""
    return torch.from_numpy(np.packbits(mask.contiguous().cpu().numpy().reshape(-1)))


def unpack(bits: Tensor, shape: torch.Size) -> Tensor:
    """Return the bool mask in the shape of the weight that `pack` took, on the device of the bits.

    Raises:
        StorageError: there are fewer or more bytes than the weights need.
    """
    expect_bytes(bits, shape)
    places = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bits.device)
    return (bits[:, None] & places).flatten()[: shape.numel()].bool().reshape(shape)


def expect_bytes(bits: Tensor, shape: torch.Size) -> None:
    """Refuse bits that are too few or too many for a weight."""
    if bits.numel() != -(-shape.numel() // 8):
        raise StorageError(f"expected a mask of {-(-shape.numel() // 8)} bytes, found {bits.numel()}")


BLOCK = 2**17
"""Weights that a thread masks at a time: few enough for what is between to stay in the processor's cache."""

ALL_OR_NONE = -np.unpackbits(np.arange(256, dtype=np.uint8)).reshape(256, 8).astype(np.int32)
"""For each byte of a packed mask eight words: all bits of a weight, as −1 has, or none."""

Words = NDArray[np.int32]
MaskedLayer = tuple[Tensor, Tensor, Tensor]
"""Output for the masked weight, weight, and mask as packed by `pack`."""


@torch.no_grad()
def write_masked(layers: Iterable[MaskedLayer]) -> None:
    """Write weight · mask of each layer to where it goes, both contiguous.

    On the CPU in little more time than copying the weights takes: PyTorch's own ways to select by a bool pass
    over the memory several times. What the mask leaves out is +0, as in training.

    Raises:
        StorageError: there are fewer or more bytes than the weights of a layer need.
    """
    blocks = []
    for out, weight, bits in layers:
        expect_bytes(bits, weight.shape)
        if out.device.type == "cpu":
            source, target = (tensor.detach().view(-1).numpy().view(np.int32) for tensor in (weight, out))
            parts = [slice(start, start + BLOCK) for start in range(0, target.size, BLOCK)]
            packed = bits.numpy()
            blocks += [(target[part], source[part], packed[part.start // 8 : part.stop // 8]) for part in parts]
        else:
            out.copy_(torch.where(unpack(bits, weight.shape), weight, 0.0))
    number = torch.get_num_threads()
    with ThreadPoolExecutor(number) as threads:  # NumPy lets go of Python's lock
        list(threads.map(write_blocks, [blocks[first::number] for first in range(number)]))


def write_blocks(blocks: Iterable[tuple[Words, Words, NDArray[np.uint8]]]) -> None:
    """Write weights through their mask, block by block; the words are the bits of float32."""
    room = np.empty((BLOCK // 8, 8), np.int32)
    for target, source, packed in blocks:
        mask = np.take(ALL_OR_NONE, packed, axis=0, out=room[: packed.size], mode="clip")
        np.bitwise_and(source, mask.reshape(-1)[: source.size], out=target)
