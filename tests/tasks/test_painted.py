"""Label maps painted as pictures and read back; the discriminator."""

import pytest
import torch

from palimpsest.tasks.discriminator import PatchDiscriminator
from palimpsest.tasks.painted import Colours
from palimpsest.tasks.segmentation import SegmentationTask
from palimpsest.tasks.segmentation_settings import SegmentationSettings


def task(loss: str) -> SegmentationTask:
    classes = {str(number): [str(number)] for number in range(5)}
    settings = SegmentationSettings(kind="segmentation", data="any", classes=classes, loss=loss)  # type: ignore[arg-type]
    return SegmentationTask("any", settings)


def test_a_painted_label_map_is_decoded_without_loss() -> None:
    colours = Colours(21)
    labels = torch.arange(21, dtype=torch.uint8).view(1, 3, 7)
    painted = colours.paint(labels.long())
    assert painted.shape == (1, 3, 3, 7) and painted.min() >= 0 and painted.max() <= 1
    assert torch.equal(colours.scores(painted).argmax(1), labels.long())
    noisy = (painted + 0.1 * torch.randn(painted.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert (colours.scores(noisy).argmax(1) == labels).float().mean() > 0.7


def test_all_classes_of_8_bits_have_different_colours() -> None:
    labels = torch.arange(255).view(1, 15, 17)
    colours = Colours(255)
    assert torch.equal(colours.scores(colours.paint(labels)).argmax(1), labels)


@pytest.mark.parametrize("loss", ["l1", "l2", "adversarial"])
def test_the_painted_truth_has_perfect_metrics_and_no_loss(loss: str) -> None:
    segmentation = task(loss)
    assert segmentation.head_channels == 3
    target = torch.randint(0, 6, (2, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    target[:, :4] = 255
    batch = {"picture": torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "target": target}
    truth = segmentation.colours.paint(target.long())
    meter = segmentation.meter()
    meter.update(truth, batch)
    assert meter.compute()["miou"] == 100
    parts = segmentation.losses(truth, batch)
    assert parts["l1_loss" if loss == "adversarial" else "loss"].item() == 0
    assert (segmentation.paint(truth)[target != 255] == segmentation.paint_target(batch)[target != 255]).all()


def test_the_distance_is_the_mean_over_valid_pixels() -> None:
    target = torch.zeros(1, 2, 2, dtype=torch.uint8)
    target[0, 0, 0] = 255
    batch = {"picture": torch.zeros(1, 3, 2, 2, dtype=torch.uint8), "target": target}
    prediction = torch.full((1, 3, 2, 2), 0.5)
    prediction[:, :, 0, 0] = 1.0  # does not count
    assert task("l1").losses(prediction, batch)["loss"].item() == pytest.approx(0.5)
    assert task("l2").losses(prediction, batch)["loss"].item() == pytest.approx(0.25)
    batch["target"].fill_(255)
    assert task("l1").losses(prediction, batch)["loss"].item() == 0


def test_the_discriminator_learns_and_does_not_depend_on_ignored_pixels() -> None:
    segmentation = task("adversarial")
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 6, (4, 32, 32), generator=generator).to(torch.uint8)
    pictures = torch.randint(0, 256, (4, 3, 32, 32), generator=generator, dtype=torch.uint8)
    batch = {"picture": pictures, "target": target}
    painted = torch.rand(4, 3, 32, 32, generator=generator)
    assert segmentation.discriminator is not None
    optimizer = torch.optim.Adam(segmentation.discriminator.parameters(), lr=1e-3)
    losses = []
    for _ in range(30):
        loss = segmentation.discriminator_loss(painted, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(0.69, abs=0.3) and losses[-1] < 0.3
    batch["target"] = torch.full_like(target, 255)
    blind = segmentation.discriminator_loss(painted, batch).item()
    inverted = segmentation.discriminator_loss(1 - painted, batch).item()
    assert blind == inverted


def test_discriminators_start_equal_and_leave_the_global_random_state_alone() -> None:
    torch.manual_seed(1)
    first, drawn = PatchDiscriminator(), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)
    for a, b in zip(first.parameters(), PatchDiscriminator().parameters(), strict=True):
        assert torch.equal(a, b)
