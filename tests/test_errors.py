import pytest

from palimpsest.errors import DataError, SettingsError, known, nearest, printable


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


def test_what_is_not_unicode_is_told_with_escapes() -> None:
    latin = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    assert printable(f"ä {latin}") == r"ä caf\udce9.jpg"
    assert str(DataError(f"{latin}: no such file")) == r"caf\udce9.jpg: no such file"


def test_a_known_name_is_given_back_and_another_refused() -> None:
    assert known("width", ["width"], "setting") == "width"
    with pytest.raises(SettingsError, match=r"^there is no setting 'widht'; did you mean 'width'"):
        known("widht", ["width"], "setting")
