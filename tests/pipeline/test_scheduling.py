from pathlib import Path

import pytest

from tests.pipeline.conftest import copied

pytestmark = pytest.mark.slow


def test_snakemake_selects_jobs_when_one_ends_and_not_at_intervals(tmp_path: Path) -> None:
    study = copied(tmp_path / "project")
    printed = study.snakemake("--verbose", "--cores", "1", "data")
    ended = printed.count("Finished jobid")
    assert ended > 5
    assert 0 < printed.count("Resources before job selection") <= ended
