from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import TrainingBatches, evaluation_batches, training_loader
from palimpsest.groups import PictureSettings

SIZE = 64
UNCROPPED = PictureSettings(size=SIZE, crop=SIZE, smallest_scale=1)
CROPS = PictureSettings(size=SIZE, crop=32, smallest_scale=0.5)


def numbered(train: int, val: int = 0, target: str | None = "labels") -> Prepared:
    """Return pictures whose red is their number, green the row and blue the column of a pixel.

    Validation rows are among the training rows; label maps contain the column in eighths of the width.
    """
    count = train + val
    down, right = np.mgrid[0:SIZE, 0:SIZE].astype(np.uint8)
    picture = np.stack([np.stack([np.full_like(down, n), 3 * down, 3 * right], axis=-1) for n in range(count)])
    maps = {"labels": np.broadcast_to(right // 8, (count, SIZE, SIZE)), "picture": picture, None: None}
    held_out = set(range(0, count, count // val)) if val else set()
    splits = tuple("val" if n in held_out else "train" for n in range(count))
    return Prepared(picture, maps[target], tuple(f"{n}.png" for n in range(count)), splits, {})


def batches(prepared: Prepared, pictures: PictureSettings = CROPS, **options: Any) -> TrainingBatches:
    return TrainingBatches(prepared, pictures, **{"batch_size": 4, "steps": 20, "seed": 5, **options})


def rows(batch: dict[str, torch.Tensor]) -> list[int]:
    return batch["picture"][:, 0, 0, 0].tolist()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    prepared = numbered(10)
    all_of_them = [batches(prepared)[step] for step in range(20)]
    np.random.seed(3)
    torch.manual_seed(3)
    again = batches(prepared)
    for step in (7, 0, 19, 7):
        assert same(again[step], all_of_them[step])


def test_other_steps_and_other_seeds_give_other_batches() -> None:
    prepared = numbered(4)
    first, second = batches(prepared), batches(prepared, seed=6)
    assert not any(same(first[a], first[b]) for a in range(5) for b in range(a))
    assert not any(same(first[step], second[step]) for step in range(5))


@pytest.mark.parametrize(("pictures", "batch_size"), [(10, 4), (3, 8), (7, 7), (1, 4), (5, 1)])
def test_each_pass_contains_every_training_picture_once(pictures: int, batch_size: int) -> None:
    training = batches(numbered(pictures), UNCROPPED, batch_size=batch_size, steps=6 * pictures)
    drawn = [row for step in range(len(training)) for row in rows(training[step])]
    passes = [drawn[start : start + pictures] for start in range(0, len(drawn) - pictures + 1, pictures)]
    assert len(passes) >= 6
    assert all(sorted(order) == list(range(pictures)) for order in passes)
    assert pictures < 5 or len({tuple(order) for order in passes}) > 0.8 * len(passes)  # each pass is shuffled


def test_validation_pictures_are_never_trained_on() -> None:
    prepared = numbered(9, 3)
    assert prepared.rows("val").tolist() == [0, 4, 8]
    drawn = {row for step in range(20) for row in rows(batches(prepared, UNCROPPED)[step])}
    assert drawn == set(prepared.rows("train").tolist())


def test_a_batch_is_uint8_in_the_size_of_the_crop() -> None:
    labelled, paired = batches(numbered(10))[0], batches(numbered(10, target="picture"))[0]
    assert labelled["picture"].dtype == labelled["target"].dtype == torch.uint8
    assert labelled["picture"].shape == (4, 3, 32, 32) and labelled["target"].shape == (4, 32, 32)
    assert paired["target"].shape == (4, 3, 32, 32)
    assert set(batches(numbered(10, target=None))[0]) == {"picture"}


def test_picture_and_target_picture_are_cropped_and_flipped_alike() -> None:
    training = batches(numbered(10, target="picture"))
    for step in range(20):
        assert torch.equal(training[step]["picture"], training[step]["target"])


def test_picture_and_labels_are_cropped_and_flipped_alike() -> None:
    training = batches(numbered(10))
    shifts = []
    for step in range(20):
        batch = training[step]
        right = batch["picture"][:, 2].float() / 3
        middle = 8 * batch["target"].float() + 3.5  # of the eighth of the label
        assert (right - middle).abs().max() < 5.5  # half an eighth and the error of interpolation
        direction = (right[:, 0, -1] - right[:, 0, 0]).sign()[:, None, None]
        shifts.append(((right - middle) * direction).mean().item())
    assert abs(np.mean(shifts)) < 0.1  # not half a pixel, as with mode "nearest"


def test_half_of_the_pictures_are_flipped_sideways_and_none_upside_down() -> None:
    training = batches(numbered(10), steps=100)
    flips = Counter()
    for step in range(100):
        picture = training[step]["picture"].float()
        flips.update((picture[:, 2, 0, -1] < picture[:, 2, 0, 0]).tolist())
        assert (picture[:, 1, -1, 0] > picture[:, 1, 0, 0]).all()
    assert 150 < flips[True] < 250


def test_crops_range_from_the_smallest_scale_to_the_full_picture() -> None:
    training = batches(numbered(10), steps=200)
    shown = []
    for step in range(200):
        down = training[step]["picture"][0, 1].float() / 3
        shown.append(((down[-1, 0] - down[0, 0]) * 32 / 31 / SIZE).item())
    assert 0.48 < min(shown) < 0.53 and 0.97 < max(shown) < 1.02


def test_small_crops_come_from_everywhere_in_a_picture() -> None:
    training = batches(numbered(10), steps=200)
    places = []
    for step in range(200):
        picture = training[step]["picture"].float() / 3
        for channel in (picture[:, 1], picture[:, 2]):
            first, last = channel.amin((1, 2)), channel.amax((1, 2))
            small = last - first < 0.6 * SIZE
            places += (((first + last) / 2) / (SIZE - 1))[small].tolist()
    assert len(places) > 100
    assert min(places) < 0.3 and max(places) > 0.7  # middles of crops; the extremes are ¼ and ¾
    assert 0.45 < np.mean(places) < 0.55


def test_labels_are_never_interpolated() -> None:
    prepared = numbered(10)
    only = np.where(np.asarray(prepared.target) < 4, 0, 255).astype(np.uint8)
    training = batches(replace(prepared, target=only))
    values = {value for step in range(20) for value in training[step]["target"].unique().tolist()}
    assert values == {0, 255}


def test_without_crop_and_scale_a_picture_is_unchanged_or_mirrored() -> None:
    prepared = numbered(3)
    batch = batches(prepared, UNCROPPED, batch_size=3)[0]
    for row, picture, target in zip(rows(batch), batch["picture"], batch["target"], strict=True):
        original = torch.from_numpy(prepared.picture[row]).permute(2, 0, 1)
        labels = torch.from_numpy(np.array(prepared.target[row]))  # type: ignore[index]
        mirrored = not torch.equal(picture, original)
        assert torch.equal(picture, original.flip(2) if mirrored else original)
        assert torch.equal(target, labels.flip(1) if mirrored else labels)


@given(batch_size=st.integers(1, 9), world_size=st.integers(1, 4), step=st.integers(0, 19))
def test_devices_share_a_batch_without_gap_or_overlap(batch_size: int, world_size: int, step: int) -> None:
    world_size = min(world_size, batch_size)
    prepared = numbered(7)
    undivided = batches(prepared, batch_size=batch_size)[step]
    parts = [
        batches(prepared, batch_size=batch_size, rank=rank, world_size=world_size)[step]
        for rank in range(world_size)
    ]
    for key, tensor in undivided.items():
        for rank, part in enumerate(parts):
            assert torch.equal(part[key], tensor[rank::world_size])


def test_each_step_has_a_batch() -> None:
    training = batches(numbered(4))
    assert len(training) == 20
    for step in (-1, 20):
        with pytest.raises(IndexError):
            training[step]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loader_starts_at_any_step(workers: int) -> None:
    training = batches(numbered(10))
    loaded = list(training_loader(training, 17, workers))
    assert len(loaded) == 3
    assert all(same(batch, training[step]) for batch, step in zip(loaded, (17, 18, 19), strict=True))


def test_evaluation_returns_every_uncropped_picture_of_the_split_in_order() -> None:
    prepared = numbered(9, 3)
    for split, expected in (("train", [1, 2, 3, 5, 6, 7, 9, 10, 11]), ("val", [0, 4, 8])):
        evaluated = list(evaluation_batches(prepared, split, 4))
        assert [len(batch["picture"]) for batch in evaluated] == [4] * (len(expected) // 4) + [len(expected) % 4]
        assert [row for batch in evaluated for row in rows(batch)] == expected
        for key, array in (("picture", prepared.picture.transpose(0, 3, 1, 2)), ("target", prepared.target)):
            assert np.array_equal(
                torch.cat([batch[key] for batch in evaluated]).numpy(), np.asarray(array)[expected]
            )


def test_evaluation_returns_target_pictures_channels_first() -> None:
    (batch,) = evaluation_batches(numbered(2, 1, target="picture"), "val", 4)
    assert torch.equal(batch["target"], batch["picture"])


def test_values_are_cropped_and_flipped_as_their_pictures() -> None:
    values = np.broadcast_to(np.arange(SIZE, dtype=np.float32), (10, SIZE, SIZE))[..., None].copy()
    values[:, :, SIZE // 2 :] = np.nan
    prepared = replace(numbered(10), target=values)
    for step in range(20):
        batch = batches(prepared)[step]
        across, target = batch["picture"][:, 2].float() / 3, batch["target"]
        assert target.shape == (4, 1, 32, 32) and target.dtype == torch.float32
        known = target[:, 0].isfinite()
        assert (target[known[:, None]] == target[known[:, None]].round()).all()
        assert ((target[:, 0] - across)[known].abs() < 1.5).all()
        assert (across[~known] > SIZE // 2 - 1.5).all()
