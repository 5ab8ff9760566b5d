import pytest

from palimpsest.errors import SettingsError, known, nearest


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("widht", "; did you mean 'width'?"),
        ("WIDTH", "; did you mean 'width'?"),
        ("padding", "; did you mean 'Padding'?"),
        ("zzz", "; there are width, Padding"),
    ],
)
def test_the_nearest_name_or_all_of_them(name: str, told: str) -> None:
    assert nearest(name, ["width", "Padding"]) == told


def test_a_known_name_is_given_back_and_another_refused() -> None:
    assert known("width", ["width"], "setting") == "width"
    with pytest.raises(SettingsError, match=r"^there is no setting 'widht'; did you mean 'width'"):
        known("widht", ["width"], "setting")
