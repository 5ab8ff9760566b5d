"""The small study after `snakemake all`, which takes minutes: all tests of this folder run in one process."""

import pytest

from tests.pipeline.conftest import Study, copied


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study after `snakemake all`. Tests that change it leave it as it was."""
    study = copied(tmp_path_factory.mktemp("study") / "project")
    study.snakemake("all")
    return study
