"""Grey photograph → colour photograph: L1 or L2, measured by SSIM, MSE, CIEDE2000 and colourfulness."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from palimpsest.data.arrays import Prepared
from palimpsest.data.pictures import is_grey
from palimpsest.tasks.base import Batch, Meter, Pixels, Targets, Task, to_pixels, unit
from palimpsest.tasks.colorization_settings import ColorizationSettings
from palimpsest.tasks.pictures import LOSSES, PictureMeter, balanced, sampled_loss


class ColorizationTask(Task):
    """Colorization; the photograph is the target, and its luminance in three channels is the input.

    With ``output: rgb`` the network predicts the picture. With ``chroma`` it predicts the two colour differences of
    ITU-R BT.601, and the prediction keeps the luminance of the input with all its detail.
    """

    working_scale = "trained"
    refinement = "luminance"
    colour_weights: Tensor | None
    """Weight of each cell of chroma in the loss, (`CELLS`, `CELLS`), mean 1 over the training pixels; None if all
    are equal."""

    def __init__(self, name: str, settings: ColorizationSettings) -> None:
        super().__init__(name, settings)
        self.output = settings.output
        self.distance = LOSSES[settings.loss]
        self.colour_balance = settings.colour_balance
        self.register_buffer("colour_weights", None)
        self.head_channels = 3 if settings.output == "rgb" else 2

    def use_training_data(self, prepared: Prepared) -> None:
        """Set the weights of colours from their fractions of the pixels of the training pictures.

        Each fraction is first averaged with 1 / number of occurring colours, to bound the weights of the rarest.
        Source: Zhang, Isola and Efros, Colorful Image Colorization, ECCV 2016, with k = 1.
        """
        if self.colour_balance:
            fractions = colour_fractions(prepared)
            smoothed = 0.5 * fractions + 0.5 / (fractions > 0).sum()
            self.colour_weights = balanced(fractions, smoothed**-self.colour_balance)

    @staticmethod
    def refuse(picture: Pixels) -> str | None:
        """Return a reason for a grey photograph, whose colours cannot be learned; None for any other."""
        return "grey photograph" if is_grey(picture) else None

    def inputs(self, batch: Batch) -> Tensor:
        """Return the luminance of the pictures in three equal channels, float (N, 3, H, W) in [0, 1]."""
        return luminance(unit(batch["picture"])).expand(-1, 3, -1, -1)

    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """Return RGB (N, 3, H, W) in [0, 1]; with chroma, values can exceed this range until `paint` clips them."""
        if self.output == "rgb":
            return output.float().sigmoid()
        return with_chroma(luminance(unit(batch["picture"])), 0.5 * output.float().tanh())

    def refine(self, enlarged: Tensor, photograph: Tensor) -> Tensor:
        """Return RGB (N, 3, H, W) in [0, 1] with the photograph's luminance and the colour of the prediction.

        The network can work on a small copy, because the eye perceives detail in luminance and hardly in colour.
        """
        luma = luminance(unit(photograph))
        return with_chroma(luma, within_gamut(luma, chroma(enlarged)))

    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``, the L1 or L2 distance to the photographs, weighted by `colour_weights`, if any."""
        truth = self.truth(batch)
        if self.colour_weights is None:
            return {"loss": self.distance(prediction, truth)}
        distance = self.distance(prediction, truth, reduction="none").mean(1)
        return {"loss": (distance * self.colour_weights[cells(chroma(truth))]).mean()}

    def sampled_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the negative log-likelihood of pictures drawn around the predictions, a scalar."""
        return sampled_loss(prediction, self.truth(batch))

    def meter(self) -> Meter:
        """Return a meter of SSIM, MSE, CIEDE2000 and colourfulness."""
        return PictureMeter(self.truth, colour=True)

    def truth(self, batch: Batch) -> Tensor:
        """Return the photographs of a batch, float (N, 3, H, W) in [0, 1]."""
        return unit(batch["picture"])

    def floor(self, training_targets: Targets | None) -> Callable[[Batch], Tensor]:
        """Return the trivial baseline: a function that predicts the grey photographs."""
        return self.inputs

    def paint(self, prediction: Tensor) -> Pixels:
        """Return the predicted pictures, uint8 (N, H, W, 3)."""
        return to_pixels(prediction)

    def paint_target(self, batch: Batch) -> Pixels:
        """Return the photographs, uint8 (N, H, W, 3)."""
        return to_pixels(unit(batch["picture"]))


CELLS = 25
"""Cells of equal size into which each of the two colour differences is divided, from −0.5 to 0.5; an odd number, so
that grey is in the middle of a cell."""
MAX_COUNTED = 1000
"""Number of training pictures from which the fractions of colours are estimated."""


def cells(differences: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices of the cells of two colour differences (N, 2, H, W): Cb and Cr, both (N, H, W)."""
    indices = ((differences + 0.5) * CELLS).long().clamp(0, CELLS - 1)
    return indices[:, 0], indices[:, 1]


def colour_fractions(prepared: Prepared) -> Tensor:
    """Return the fraction of the training pixels in each cell of chroma, (`CELLS`, `CELLS`); the sum is 1.

    One pixel in 16, of at most `MAX_COUNTED` pictures spread over the training pictures, is counted.
    """
    rows = prepared.rows("train")
    counts = torch.zeros(CELLS**2, dtype=torch.int64)
    for row in rows[:: -(-len(rows) // MAX_COUNTED)]:
        pixels = torch.from_numpy(np.ascontiguousarray(prepared.picture[row, ::4, ::4])).permute(2, 0, 1)[None]
        blue, red = cells(chroma(unit(pixels)))
        counts += torch.bincount((blue * CELLS + red).flatten(), minlength=CELLS**2)
    return (counts / counts.sum()).view(CELLS, CELLS)


def luminance(rgb: Tensor) -> Tensor:
    """Return the luminance (luma of ITU-R BT.601) of RGB pictures: (N, 3, H, W) → (N, 1, H, W)."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=rgb.device)
    return torch.einsum("nchw,c->nhw", rgb, weights)[:, None]


def chroma(rgb: Tensor) -> Tensor:
    """Return the colour differences Cb and Cr of ITU-R BT.601, in [-0.5, 0.5]: (N, 3, H, W) → (N, 2, H, W)."""
    luma = luminance(rgb)
    return torch.cat([(rgb[:, 2:] - luma) / 1.772, (rgb[:, :1] - luma) / 1.402], dim=1)


def with_chroma(luma: Tensor, differences: Tensor) -> Tensor:
    """Return RGB from luminance (N, 1, H, W) and colour differences (N, 2, H, W); the inverse of `chroma`."""
    blue = luma + 1.772 * differences[:, :1]
    red = luma + 1.402 * differences[:, 1:]
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return torch.cat([red, green, blue], dim=1)


def within_gamut(luma: Tensor, differences: Tensor) -> Tensor:
    """Return colour differences (N, 2, H, W), reduced where RGB at ``luma`` (N, 1, H, W) would leave [0, 1].

    Reduced differences keep the hue; clipping RGB would change hue and luminance.
    """
    excess = with_chroma(luma, differences) - luma
    limit = torch.where(excess > 0, 1 - luma, luma)
    share = (limit / excess.abs().clamp(min=1e-6)).clamp(0, 1).amin(dim=1, keepdim=True)
    return differences * share
