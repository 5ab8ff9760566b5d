from pathlib import Path

import pytest

from palimpsest.errors import StorageError
from palimpsest.storage.disk_space import NEEDED, check_space
from tests.conftest import room_for


def test_disk_space_is_measured_by_writing_and_no_file_is_left(tmp_path: Path) -> None:
    with room_for(NEEDED):
        check_space(tmp_path)
    with pytest.raises(StorageError, match="make room and run the same command again"), room_for(NEEDED - 1):
        check_space(tmp_path)
    assert list(tmp_path.iterdir()) == []
