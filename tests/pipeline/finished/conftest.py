"""Small study after `snakemake all`, which takes minutes: all tests of this folder run in one process."""

import pytest

from tests.pipeline.conftest import Study, copied


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return the study after `snakemake all`; a tracking server has its runs. Tests undo their changes."""
    study = copied(tmp_path_factory.mktemp("study") / "project")
    study.snakemake("all", "--config", f"tracking={{uri: 'sqlite:///{study.folder.with_name('team.db')}'}}")
    return study
