import pytest

from palimpsest.processes.ranks import is_rank_zero


@pytest.mark.parametrize(("rank", "expected"), [(None, True), ("0", True), ("1", False)])
def test_the_first_of_several_processes_has_rank_zero_and_so_has_one_alone(
    monkeypatch: pytest.MonkeyPatch, rank: str | None, expected: bool
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert is_rank_zero() == expected
