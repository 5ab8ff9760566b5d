"""Grey photograph → colour photograph: L1 or L2, measured by SSIM, MSE, CIEDE2000 and colourfulness."""

from collections.abc import Callable

import torch
from torch import Tensor

from palimpsest.data.pictures import is_grey
from palimpsest.tasks.base import Batch, Meter, Pixels, Targets, Task, to_pixels, unit
from palimpsest.tasks.colorization_settings import ColorizationSettings
from palimpsest.tasks.pictures import LOSSES, PictureMeter, sampled_loss


class ColorizationTask(Task):
    """The photograph is its own target; the network sees its luminance three times.

    With ``output: rgb`` the network gives the picture. With ``chroma`` it gives the two colour differences of
    ITU-R BT.601, and the luminance of the input is kept, so that no detail can be lost.
    """

    working_scale = "trained"

    def __init__(self, name: str, settings: ColorizationSettings) -> None:
        super().__init__(name, settings)
        self.output = settings.output
        self.distance = LOSSES[settings.loss]
        self.head_channels = 3 if settings.output == "rgb" else 2

    @staticmethod
    def refuse(picture: Pixels) -> str | None:
        """Grey photographs: their colour target is empty."""
        return "grey photograph" if is_grey(picture) else None

    def inputs(self, batch: Batch) -> Tensor:
        """Luminance, three times."""
        return luminance(unit(batch["picture"])).expand(-1, 3, -1, -1)

    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """RGB (N, 3, H, W) in [0, 1]; in `chroma` values outside are left to the painter to clip."""
        if self.output == "rgb":
            return output.float().sigmoid()
        return with_chroma(luminance(unit(batch["picture"])), 0.5 * output.float().tanh())

    def refine(self, enlarged: Tensor, photograph: Tensor) -> Tensor:
        """Return the photograph's own luminance, sharp, under the colour of the prediction.

        The eye sees detail in luminance and hardly in colour, so that a network that works on a small copy is
        enough. RGB (N, 3, H, W) in [0, 1], of the photograph's luminance for both kinds of output.
        """
        luma = luminance(unit(photograph))
        return with_chroma(luma, within_gamut(luma, chroma(enlarged)))

    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Distance to the photograph."""
        return {"loss": self.distance(prediction, unit(batch["picture"]))}

    def sampled_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the negative log-likelihood of a picture drawn around the prediction."""
        return sampled_loss(prediction, self.truth(batch))

    def meter(self) -> Meter:
        """Means over pictures."""
        return PictureMeter(self.truth, colour=True)

    def truth(self, batch: Batch) -> Tensor:
        """Return the photograph, float (N, 3, H, W) in [0, 1]."""
        return unit(batch["picture"])

    def floor(self, training_targets: Targets | None) -> Callable[[Batch], Tensor]:
        """Return the grey picture itself."""
        return self.inputs

    def paint(self, prediction: Tensor) -> Pixels:
        """Return the picture."""
        return to_pixels(prediction)

    def paint_target(self, batch: Batch) -> Pixels:
        """Return the photograph."""
        return to_pixels(unit(batch["picture"]))


def luminance(rgb: Tensor) -> Tensor:
    """Luma of ITU-R BT.601: (N, 3, H, W) → (N, 1, H, W)."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=rgb.device)
    return torch.einsum("nchw,c->nhw", rgb, weights)[:, None]


def chroma(rgb: Tensor) -> Tensor:
    """Colour differences Cb and Cr of ITU-R BT.601 in [-0.5, 0.5]: (N, 3, H, W) → (N, 2, H, W)."""
    luma = luminance(rgb)
    return torch.cat([(rgb[:, 2:] - luma) / 1.772, (rgb[:, :1] - luma) / 1.402], dim=1)


def with_chroma(luma: Tensor, differences: Tensor) -> Tensor:
    """RGB of a luminance (N, 1, H, W) and colour differences (N, 2, H, W); the inverse of `chroma`."""
    blue = luma + 1.772 * differences[:, :1]
    red = luma + 1.402 * differences[:, 1:]
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return torch.cat([red, green, blue], dim=1)


def within_gamut(luma: Tensor, differences: Tensor) -> Tensor:
    """Colour differences (N, 2, H, W), less of them where their RGB at ``luma`` (N, 1, H, W) would leave [0, 1].

    Towards grey, with the hue kept: clipping RGB instead would change both hue and luminance.
    """
    excess = with_chroma(luma, differences) - luma
    room = torch.where(excess > 0, 1 - luma, luma)
    share = (room / excess.abs().clamp(min=1e-6)).clamp(0, 1).amin(dim=1, keepdim=True)
    return differences * share
