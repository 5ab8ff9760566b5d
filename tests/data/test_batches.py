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
WHOLE = PictureSettings(size=SIZE, crop=SIZE, smallest_scale=1)
CROPS = PictureSettings(size=SIZE, crop=32, smallest_scale=0.5)


def numbered(train: int, val: int = 0, target: str | None = "labels") -> Prepared:
    """Pictures that say in red which they are, in green how far down and in blue how far right a pixel is.

    Validation rows stand among the training rows; label maps hold in which eighth across a pixel lies.
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


def test_a_batch_depends_on_seed_and_step_and_on_nothing_that_was_drawn_before() -> None:
    prepared = numbered(10)
    all_of_them = [batches(prepared)[step] for step in range(20)]
    np.random.seed(3)
    torch.manual_seed(3)
    again = batches(prepared)
    for step in (7, 0, 19, 7):
        assert same(again[step], all_of_them[step])


def test_other_steps_and_other_seeds_give_other_batches() -> None:
    prepared = numbered(4)
    one, other = batches(prepared), batches(prepared, seed=6)
    assert not any(same(one[a], one[b]) for a in range(5) for b in range(a))
    assert not any(same(one[step], other[step]) for step in range(5))


@pytest.mark.parametrize(("pictures", "batch_size"), [(10, 4), (3, 8), (7, 7), (1, 4), (5, 1)])
def test_each_pass_sees_every_training_picture_once(pictures: int, batch_size: int) -> None:
    found = batches(numbered(pictures), WHOLE, batch_size=batch_size, steps=6 * pictures)
    seen = [row for step in range(len(found)) for row in rows(found[step])]
    passes = [seen[start : start + pictures] for start in range(0, len(seen) - pictures + 1, pictures)]
    assert len(passes) >= 6
    assert all(sorted(one) == list(range(pictures)) for one in passes)
    assert pictures < 5 or len({tuple(one) for one in passes}) > 0.8 * len(passes)  # each shuffled anew


def test_validation_pictures_are_never_trained_on() -> None:
    prepared = numbered(9, 3)
    assert prepared.rows("val").tolist() == [0, 4, 8]
    seen = {row for step in range(20) for row in rows(batches(prepared, WHOLE)[step])}
    assert seen == set(prepared.rows("train").tolist())


def test_a_batch_is_uint8_of_the_side_of_the_crop() -> None:
    labelled, paired = batches(numbered(10))[0], batches(numbered(10, target="picture"))[0]
    assert labelled["picture"].dtype == labelled["target"].dtype == torch.uint8
    assert labelled["picture"].shape == (4, 3, 32, 32) and labelled["target"].shape == (4, 32, 32)
    assert paired["target"].shape == (4, 3, 32, 32)
    assert set(batches(numbered(10, target=None))[0]) == {"picture"}


def test_picture_and_target_picture_are_cut_and_flipped_alike() -> None:
    found = batches(numbered(10, target="picture"))
    for step in range(20):
        assert torch.equal(found[step]["picture"], found[step]["target"])


def test_picture_and_labels_are_cut_and_flipped_alike() -> None:
    found = batches(numbered(10))
    shifts = []
    for step in range(20):
        batch = found[step]
        right = batch["picture"][:, 2].float() / 3
        middle = 8 * batch["target"].float() + 3.5  # of the eighth that the label names
        assert (right - middle).abs().max() < 5.5  # half an eighth, and what interpolation and rounding do
        direction = (right[:, 0, -1] - right[:, 0, 0]).sign()[:, None, None]
        shifts.append(((right - middle) * direction).mean().item())
    assert abs(np.mean(shifts)) < 0.1  # and not half a pixel apart, as by the older nearest neighbour


def test_pictures_are_flipped_sideways_half_of_the_time_and_never_upside_down() -> None:
    found = batches(numbered(10), steps=100)
    flips = Counter()
    for step in range(100):
        picture = found[step]["picture"].float()
        flips.update((picture[:, 2, 0, -1] < picture[:, 2, 0, 0]).tolist())
        assert (picture[:, 1, -1, 0] > picture[:, 1, 0, 0]).all()
    assert 150 < flips[True] < 250


def test_crops_show_between_the_smallest_scale_and_the_whole_of_a_picture() -> None:
    found = batches(numbered(10), steps=200)
    shown = []
    for step in range(200):
        down = found[step]["picture"][0, 1].float() / 3
        shown.append(((down[-1, 0] - down[0, 0]) * 32 / 31 / SIZE).item())
    assert 0.48 < min(shown) < 0.53 and 0.97 < max(shown) < 1.02


def test_small_crops_come_from_everywhere_in_a_picture() -> None:
    found = batches(numbered(10), steps=200)
    places = []
    for step in range(200):
        picture = found[step]["picture"].float() / 3
        for channel in (picture[:, 1], picture[:, 2]):
            first, last = channel.amin((1, 2)), channel.amax((1, 2))
            small = last - first < 0.6 * SIZE
            places += (((first + last) / 2) / (SIZE - 1))[small].tolist()
    assert len(places) > 100
    assert min(places) < 0.3 and max(places) > 0.7  # of the middles; a quarter is as far as one can go
    assert 0.45 < np.mean(places) < 0.55


def test_labels_are_never_mixed() -> None:
    prepared = numbered(10)
    only = np.where(np.asarray(prepared.target) < 4, 0, 255).astype(np.uint8)
    found = batches(replace(prepared, target=only))
    values = {value for step in range(20) for value in found[step]["target"].unique().tolist()}
    assert values == {0, 255}


def test_without_crop_and_scale_a_picture_comes_as_it_is_or_mirrored() -> None:
    prepared = numbered(3)
    batch = batches(prepared, WHOLE, batch_size=3)[0]
    for row, picture, target in zip(rows(batch), batch["picture"], batch["target"], strict=True):
        whole = torch.from_numpy(prepared.picture[row]).permute(2, 0, 1)
        labels = torch.from_numpy(np.array(prepared.target[row]))  # type: ignore[index]
        mirrored = not torch.equal(picture, whole)
        assert torch.equal(picture, whole.flip(2) if mirrored else whole)
        assert torch.equal(target, labels.flip(1) if mirrored else labels)


@given(batch_size=st.integers(1, 9), world_size=st.integers(1, 4), step=st.integers(0, 19))
def test_devices_share_a_batch_without_gap_or_overlap(batch_size: int, world_size: int, step: int) -> None:
    world_size = min(world_size, batch_size)
    prepared = numbered(7)
    whole = batches(prepared, batch_size=batch_size)[step]
    parts = [
        batches(prepared, batch_size=batch_size, rank=rank, world_size=world_size)[step]
        for rank in range(world_size)
    ]
    for key, tensor in whole.items():
        for rank, part in enumerate(parts):
            assert torch.equal(part[key], tensor[rank::world_size])


def test_there_are_as_many_batches_as_steps() -> None:
    found = batches(numbered(4))
    assert len(found) == 20
    for step in (-1, 20):
        with pytest.raises(IndexError):
            found[step]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loader_goes_on_from_any_step(workers: int) -> None:
    found = batches(numbered(10))
    loaded = list(training_loader(found, 17, workers))
    assert len(loaded) == 3
    assert all(same(batch, found[step]) for batch, step in zip(loaded, (17, 18, 19), strict=True))


def test_evaluation_shows_every_picture_of_the_split_once_whole_and_in_order() -> None:
    prepared = numbered(9, 3)
    for split, wanted in (("train", [1, 2, 3, 5, 6, 7, 9, 10, 11]), ("val", [0, 4, 8])):
        found = list(evaluation_batches(prepared, split, 4))
        assert [len(batch["picture"]) for batch in found] == [4] * (len(wanted) // 4) + [len(wanted) % 4]
        assert [row for batch in found for row in rows(batch)] == wanted
        for key, array in (("picture", prepared.picture.transpose(0, 3, 1, 2)), ("target", prepared.target)):
            assert np.array_equal(torch.cat([batch[key] for batch in found]).numpy(), np.asarray(array)[wanted])


def test_evaluation_gives_target_pictures_channels_first() -> None:
    (batch,) = evaluation_batches(numbered(2, 1, target="picture"), "val", 4)
    assert torch.equal(batch["target"], batch["picture"])


def test_values_are_cut_and_flipped_as_their_pictures_and_never_mixed() -> None:
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
