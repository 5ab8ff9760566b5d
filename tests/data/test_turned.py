import pytest

from palimpsest.data.pictures import Frame
from palimpsest.data.turned import Votes, drawn_size, vote
from palimpsest.errors import DataError

STORED, SHOWN = (48, 64), (64, 48)
TURNED = Frame(64, 48, 6)
WIDE = [[0, 0, 60, 0, 60, 40]]
TALL = [[0, 0, 40, 0, 40, 60]]
SMALL = [[0, 0, 9, 0, 9, 9]]
LARGE = [[0, 0, 90, 0, 90, 90]]


@pytest.mark.parametrize("declared", [STORED, SHOWN, None])
def test_only_outlines_that_fit_a_single_frame_vote(declared: tuple[int, int] | None) -> None:
    as_stored, as_shown = (Votes(1, 0), Votes(0, 1)) if declared == STORED else (Votes(0, 1), Votes(1, 0))
    assert vote(TURNED, declared, [WIDE]) == vote(TURNED, declared, [SMALL, WIDE]) == as_stored
    assert vote(TURNED, declared, [TALL]) == as_shown
    assert (
        vote(TURNED, declared, [SMALL]) == vote(TURNED, declared, [LARGE]) == vote(TURNED, declared, []) == Votes()
    )
    assert vote(Frame(64, 48, 3), declared, [TALL]) == Votes()  # upside down: the frames are equal
    assert vote(TURNED, (480, 640), [TALL]) == Votes()


def test_an_outline_clipped_at_the_edge_is_no_vote_for_the_other_frame() -> None:
    slightly_out = [[0, 0, 40, 0, 40, 52]]
    assert vote(TURNED, STORED, [slightly_out[0]]) == Votes()
    assert drawn_size("a.jpg", TURNED, STORED, slightly_out, vote(TURNED, STORED, slightly_out)) == STORED


def test_the_declared_frame_is_used_unless_no_picture_fits_it_alone() -> None:
    for votes, expected in ((Votes(), STORED), (Votes(1, 0), STORED), (Votes(0, 1), SHOWN), (Votes(1, 9), STORED)):
        assert drawn_size("a.jpg", TURNED, STORED, [SMALL], votes) == expected
    assert drawn_size("a.jpg", TURNED, SHOWN, [WIDE], Votes(0, 1)) == STORED


def test_outlines_that_fit_no_frame_or_a_different_frame_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"^a\.jpg: its annotations fit the picture neither as stored, 64×48, nor as"
    ):
        drawn_size("a.jpg", TURNED, STORED, [LARGE], Votes())
    with pytest.raises(
        DataError, match=r"^a\.jpg: its annotations fit a picture of 48×64 pixels, but those of other"
    ):
        drawn_size("a.jpg", TURNED, STORED, [TALL], Votes(3, 1))
