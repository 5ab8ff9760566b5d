from pathlib import Path

import pytest

from tests.pipeline.conftest import copied

pytestmark = pytest.mark.slow


def test_snakemake_weighs_its_jobs_when_one_ends_and_not_by_the_clock(tmp_path: Path) -> None:
    study = copied(tmp_path / "project")
    told = study.snakemake("--verbose", "--cores", "1", "data")
    ended = told.count("Finished jobid")
    assert ended > 5
    assert 0 < told.count("Resources before job selection") <= ended
