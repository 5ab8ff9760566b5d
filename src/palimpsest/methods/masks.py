"""Masks of one bit per weight: a parametrization over frozen weights, and its packed form.

During training each weight w has a real-valued score s, and the layer computes with w · [s > threshold]. The step
function has no useful derivative, so its gradient passes unchanged (straight-through): if g is the gradient of the
masked weight, the score receives g · w. One bit per weight is stored.
Source: Mallya, Davis and Lazebnik, Piggyback, ECCV 2018.
Settings replace the unchanged gradient by another surrogate (Bengio et al. 2013; Yin et al. 2019).
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from palimpsest.errors import StorageError
from palimpsest.methods.masks_settings import MaskSettings, ScoreSettings
from palimpsest.methods.reparametrised import LayerWeight, layer_in_errors

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
    bit_values = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=bits.device)
    return (bits[:, None] & bit_values).flatten()[: shape.numel()].bool().reshape(shape)


def check_bytes(bits: Tensor, shape: torch.Size) -> None:
    """Check that a packed mask has as many bytes as a weight of this shape needs.

    Raises:
        StorageError: the number of bytes differs.
    """
    if bits.numel() != -(-shape.numel() // 8):
        raise StorageError(f"expected a mask of {-(-shape.numel() // 8)} bytes, found {bits.numel()}")


BLOCK = 2**18
"""Number of weights that a thread masks at a time; a block stays in the processor's cache between two passes."""
WEIGHTS_PER_THREAD = 2**20
"""Number of weights that a further thread has to mask; with fewer, its start would take longer than it saves."""

WORD_MASKS = -np.unpackbits(np.arange(256, dtype=np.uint8)).reshape(256, 8).astype(np.int32)
"""Eight words for each byte of a packed mask: all bits set (−1) for a weight in use, no bits otherwise."""

Words = NDArray[np.int32]
"""Float32 values as integers with the same bits."""
MaskedLayer = tuple[str, Tensor, Tensor, Tensor]
"""Name of a layer and its tensors: output for the masked weight, weight of the base, packed mask."""
Block = tuple[Words, Words, NDArray[np.uint8]]
"""Part of a layer: words of the output and of the weight, a row for each byte; bytes of the packed mask."""


def mask_writer(layers: Iterable[MaskedLayer]) -> Callable[[], None]:
    """Return a function that writes the masked weight of each layer to its output, in place.

    Weight and output are contiguous float32. On the CPU the function takes little longer than copying the weights;
    PyTorch's selection by a bool mask reads the memory several times. Removed weights are +0, as in training.

    Raises:
        StorageError: the number of bytes of a mask does not fit its layer; the message names the layer.
    """
    blocks: list[Block] = []
    elsewhere: list[tuple[Tensor, Tensor, Tensor]] = []
    for name, output, weight, bits in layers:
        with layer_in_errors(name):
            check_bytes(bits, weight.shape)
        if output.device.type == "cpu":
            blocks += blocks_of(output, weight, bits)
        else:
            elsewhere.append((output.detach(), weight, bits))
    weights = sum(target.size for target, _, _ in blocks)

    def write() -> None:
        threads = max(1, min(torch.get_num_threads(), weights // WEIGHTS_PER_THREAD))
        with ThreadPoolExecutor(threads) as others:  # NumPy releases the GIL
            written = others.map(write_blocks, [blocks[start::threads] for start in range(1, threads)])
            write_blocks(blocks[::threads])
            list(written)  # waits, and raises the errors of the other threads
        for output, weight, bits in elsewhere:
            output.copy_(torch.where(unpack(bits, weight.shape), weight, 0.0))

    return write


def blocks_of(output: Tensor, weight: Tensor, bits: Tensor) -> Iterator[Block]:
    """Yield a layer in blocks of at most `BLOCK` weights; the bits of its last byte can be more than its weights."""
    target, source = (tensor.detach().view(-1).numpy().view(np.int32) for tensor in (output, weight))
    packed = bits.numpy()
    whole = target.size - target.size % 8
    for start in range(0, whole, BLOCK):
        part = slice(start, min(start + BLOCK, whole))
        yield target[part].reshape(-1, 8), source[part].reshape(-1, 8), packed[part.start // 8 : part.stop // 8]
    if whole < target.size:
        yield target[None, whole:], source[None, whole:], packed[-1:]


def write_blocks(blocks: Iterable[Block]) -> None:
    """Write masked weights block by block, in place, by bitwise operations on the words of float32."""
    for target, source, packed in blocks:
        np.take(WORD_MASKS[:, : target.shape[1]], packed, axis=0, out=target, mode="clip")
        np.bitwise_and(source, target, out=target)
