"""Which process runs which tests under `make test`, so that none makes anew what another has made in minutes."""

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

PIPELINE = PurePosixPath("tests/pipeline")
"""These tests run the whole pipeline. They come first: the others fill the gaps that they leave in the end."""
TOGETHER = PIPELINE / "finished"
"""All tests of this folder start from one study."""


def file_of(nodeid: str) -> PurePosixPath:
    """The file of a test, by the name that pytest gives the test."""
    return PurePosixPath(nodeid.split("::", maxsplit=1)[0])


def longest_first(nodeid: str) -> bool:
    """A key to sort tests by."""
    return not file_of(nodeid).is_relative_to(PIPELINE)


class ByFile(LoadScopeScheduling):
    """Gives a worker the tests of a file together, and those of the folder `TOGETHER` as if they were one file.

    Marks (`--dist loadgroup`) would say the same, but pytest 9.2 keeps the groups of pytest-xdist 3.8 from its
    scheduler (pytest-xdist's issue 1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        file = file_of(nodeid)
        return str(TOGETHER if file.is_relative_to(TOGETHER) else file)
