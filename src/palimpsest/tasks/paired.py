"""Input picture → target picture: a user's task without code."""

from collections.abc import Callable

from torch import Tensor

from palimpsest.tasks.base import Batch, Meter, Pixels, Targets, Task, to_pixels, unit
from palimpsest.tasks.paired_settings import PairedSettings
from palimpsest.tasks.pictures import LOSSES, PictureMeter, sampled_loss


class PairedTask(Task):
    """Translation of pictures, learned from pairs with an L1 or L2 loss."""

    def __init__(self, name: str, settings: PairedSettings) -> None:
        super().__init__(name, settings)
        self.distance = LOSSES[settings.loss]
        self.head_channels = 3

    def prediction(self, output: Tensor, batch: Batch) -> Tensor:
        """Return RGB (N, 3, H, W) in [0, 1]."""
        return output.float().sigmoid()

    def losses(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``, the L1 or L2 distance of predictions to the targets."""
        return {"loss": self.distance(prediction, self.truth(batch))}

    def sampled_loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Return the negative log-likelihood of pictures drawn around the predictions, a scalar."""
        return sampled_loss(prediction, self.truth(batch))

    def meter(self) -> Meter:
        """Return a meter of SSIM and MSE."""
        return PictureMeter(self.truth, colour=False)

    def truth(self, batch: Batch) -> Tensor:
        """Return the target pictures of a batch, float (N, 3, H, W) in [0, 1]."""
        return unit(batch["target"])

    def floor(self, training_targets: Targets | None) -> Callable[[Batch], Tensor]:
        """Return the trivial baseline: a function that predicts the input pictures."""
        return self.inputs

    def paint(self, prediction: Tensor) -> Pixels:
        """Return the predicted pictures, uint8 (N, H, W, 3)."""
        return to_pixels(prediction)

    def paint_target(self, batch: Batch) -> Pixels:
        """Return the target pictures, uint8 (N, H, W, 3)."""
        return to_pixels(self.truth(batch))
