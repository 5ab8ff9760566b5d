"""Distribution of tests over processes under `make test`: tests that share slow fixtures run in one process."""

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

PIPELINE = PurePosixPath("tests/pipeline")
"""Tests of the whole pipeline; they start first, and shorter tests fill the remaining time."""
TOGETHER = PIPELINE / "finished"
"""Folder of tests that share one finished study."""


def file_of(nodeid: str) -> PurePosixPath:
    """Return the file of a test from its pytest node id."""
    return PurePosixPath(nodeid.split("::", maxsplit=1)[0])


def longest_first(nodeid: str) -> bool:
    """Return a sort key that puts tests of the pipeline first."""
    return not file_of(nodeid).is_relative_to(PIPELINE)


class ByFile(LoadScopeScheduling):
    """Scheduler that assigns the tests of a file, or of the folder `TOGETHER`, to one worker.

    Marks (`--dist loadgroup`) would be simpler, but with pytest 9.2 the groups of pytest-xdist 3.8 do not reach its
    scheduler (pytest-xdist's issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        file = file_of(nodeid)
        return str(TOGETHER if file.is_relative_to(TOGETHER) else file)
