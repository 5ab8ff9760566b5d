"""Style losses, checked by hand."""

import pytest
import torch

from palimpsest.metrics.perceptual import (
    content_loss,
    gram_matrix,
    grid_loss,
    style_loss,
    tiles,
    total_variation,
)

TWO_CHANNELS = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [-1.0, 2.0]]]])


def test_gram_matrix_by_hand():
    # Σ a² = 30, Σ ab = 1 + 0 − 3 + 8 = 6, Σ b² = 6; four positions.
    assert gram_matrix(TWO_CHANNELS).tolist() == [[[7.5, 1.5], [1.5, 1.5]]]


def test_gram_matrix_does_not_depend_on_positions():
    assert torch.equal(gram_matrix(TWO_CHANNELS.flip(3)), gram_matrix(TWO_CHANNELS))


def test_gram_matrix_of_a_tiled_picture_is_that_of_the_tile():
    assert torch.equal(gram_matrix(TWO_CHANNELS.repeat(1, 1, 3, 2)), gram_matrix(TWO_CHANNELS))


def test_gram_matrix_stays_in_float32_under_autocast():
    large = torch.full((1, 2, 16, 16), 300.0, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        gram = gram_matrix(large + torch.tensor([0.0, 2.0])[None, :, None, None].bfloat16())
    assert gram.dtype == torch.float32
    # bfloat16 has 8 bits of mantissa: it would round to 90600, or sum to another value.
    assert gram.tolist() == [[[300.0**2, 300.0 * 302], [300.0 * 302, 302.0**2]]]


def test_content_loss_by_hand():
    target = torch.tensor([[[[3.0, 4.0]]]])
    # ‖(0, 4) − (3, 4)‖² / ‖(3, 4)‖² = 9 / 25; the second layer is equal.
    assert content_loss([torch.tensor([[[[0.0, 4.0]]]]), target], [target, target]).tolist() == [
        pytest.approx(0.18)
    ]


def test_content_loss_does_not_depend_on_scale():
    features, targets = torch.rand(3, 4, 5, 5), torch.rand(3, 4, 5, 5)
    torch.testing.assert_close(content_loss([100 * features], [100 * targets]), content_loss([features], [targets]))


def test_style_loss_by_hand():
    # G = [[7.5, 1.5], [1.5, 1.5]] against the identity: 6.5² + 2 · 1.5² + 0.5² = 47, relative to 2.
    assert style_loss([gram_matrix(TWO_CHANNELS)], [torch.eye(2)[None]]).tolist() == [23.5]


def test_losses_are_zero_for_identical_pictures():
    features = [torch.rand(2, 4, 8, 8), torch.rand(2, 8, 4, 4)]
    assert content_loss(features, features).tolist() == [0, 0]
    grams = [gram_matrix(f) for f in features]
    assert style_loss(grams, grams).tolist() == [0, 0]


def test_the_loss_of_a_picture_does_not_depend_on_its_batch():
    grams, target = gram_matrix(torch.rand(3, 4, 8, 8)), gram_matrix(torch.rand(1, 4, 8, 8))
    together = style_loss([grams], [target])
    torch.testing.assert_close(together, torch.cat([style_loss([gram[None]], [target]) for gram in grams]))


def test_mean_gram_matrix_is_that_of_pictures_side_by_side():
    features = torch.rand(2, 4, 8, 8)
    side_by_side = torch.cat([features[:1], features[1:]], dim=3)
    torch.testing.assert_close(gram_matrix(features).mean(0, keepdim=True), gram_matrix(side_by_side))


def test_losses_are_finite_for_an_empty_target():
    assert torch.isfinite(content_loss([torch.rand(1, 2, 4, 4)], [torch.zeros(1, 2, 4, 4)])).all()


def test_total_variation_by_hand():
    # Horizontal: |2 − 1|, |5 − 3| → mean 1.5; vertical: |3 − 1|, |5 − 2| → mean 2.5.
    assert total_variation(torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]]])).tolist() == [4.0]


def test_total_variation_of_a_uniform_picture_is_zero():
    assert total_variation(torch.full((2, 3, 5, 7), 0.3)).tolist() == [0, 0]


def test_grid_loss_by_hand():
    # Columns 0.2, 0.6, 0.2, …: horizontal neighbours differ by 0.4, vertical ones are equal.
    stripes = torch.tensor([0.2, 0.6]).repeat(4).expand(2, 3, 8, 8)
    assert grid_loss(tiles(stripes, 2)).item() == pytest.approx(0.16, rel=1e-5)


def test_a_period_of_16_detects_grids_of_2_4_and_8_too():
    for period in (2, 4, 8, 16):
        dots = torch.full((1, 3, 32, 32), 0.5)
        dots[..., ::period, ::period] += 0.2
        # Each dot has two horizontal and two vertical neighbours: 4 · 0.2² for each block of period².
        assert grid_loss(tiles(dots, 16)).item() == pytest.approx(4 * 0.04 / period**2, rel=1e-5)


def test_light_paint_on_dark_and_dark_paint_on_light_do_not_cancel():
    painted = torch.full((1, 3, 16, 32), 0.1)
    painted[..., 16:] = 0.9
    painted[..., ::2, :16:2] += 0.1
    painted[..., ::2, 16::2] -= 0.1
    assert grid_loss(tiles(painted, 16)).item() == pytest.approx(0.01, rel=1e-4)


def test_dots_at_random_positions_are_no_grid():
    anywhere = torch.rand(64, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert grid_loss(tiles(anywhere, 16)).item() < 0.002
    dotted = anywhere * 0.8
    dotted[..., ::8, ::8] += 0.2
    assert grid_loss(tiles(dotted, 16)).item() > 0.002


def test_tiles_of_batches_add_up():
    pictures = torch.rand(5, 3, 40, 32)
    all_pictures, first, second = tiles(pictures, 16), tiles(pictures[:2], 16), tiles(pictures[2:], 16)
    torch.testing.assert_close(first.sums + second.sums, all_pictures.sums)
    assert torch.equal(first.counts + second.counts, all_pictures.counts) and all_pictures.counts.sum() == 5 * 4


def test_the_gradient_of_the_grid_loss_removes_the_grid():
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(8, 3, 32, 32, generator=generator) * 0.2 + 0.4
    pictures[..., ::4, :] += 0.2
    painted = pictures.clone().requires_grad_()
    before = grid_loss(tiles(painted, 16))
    before.backward()
    with torch.no_grad():
        assert grid_loss(tiles(painted - 0.5 * painted.grad / painted.grad.abs().max() * 0.1, 16)) < before
