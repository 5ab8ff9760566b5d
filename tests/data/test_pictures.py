import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from palimpsest.data.pictures import (
    TRANSPOSED,
    Frame,
    is_grey,
    list_pictures,
    read_frame,
    read_picture,
    read_scaled,
    resize_and_crop,
    turn_labels,
)
from palimpsest.errors import DataError

REAL = Path(__file__).parents[2] / ".." / "shared" / "realdata"

ORIENTATION = 0x0112


def with_orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return exif


def halves(width: int, height: int) -> Image.Image:
    """Return a picture whose left half is red and right half is blue."""
    picture = Image.new("RGB", (width, height), "red")
    picture.paste("blue", (width // 2, 0, width, height))
    return picture


def png_of_rgb16(samples: bytes) -> bytes:
    """Return two pixels of 3 × 16 bits, which Pillow reads and cannot write (PNG specification, 11.2)."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress(b"\0" + samples),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


def tiff_of_rgb16(samples: bytes) -> bytes:
    """Return these pixels as TIFF 6.0: one strip behind one directory."""
    end = 8 + 2 + 8 * 12 + 4
    short, long = 3, 4
    entries = [(256, short, 1, 2 << 16), (257, short, 1, 1 << 16), (258, short, 3, end), (262, short, 1, 2 << 16)]
    entries += [(273, long, 1, end + 6), (277, short, 1, 3 << 16), (278, short, 1, 1 << 16), (279, long, 1, 12)]
    directory = struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries)
    return b"MM\0*" + struct.pack(">I", 8) + directory + bytes(4) + struct.pack(">3H", 16, 16, 16) + samples


def test_rgb_is_read_unchanged(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "ein Bild – ü.png")
    assert np.array_equal(read_picture(tmp_path / "ein Bild – ü.png"), pixels)


def test_sixteen_bits_are_scaled_by_their_full_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 32768, 65535]], np.uint16)).save(tmp_path / "grey16.png")
    assert read_picture(tmp_path / "grey16.png").tolist() == [[[0] * 3, [1] * 3, [128] * 3, [255] * 3]]


def test_sixteen_bit_values_are_not_stretched(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 25700, np.uint16)).save(tmp_path / "even.tif")
    assert read_picture(tmp_path / "even.tif").max() == 100


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_per_channel_are_scaled_too(tmp_path: Path, suffix: str) -> None:
    samples = struct.pack(">6H", 0, 257, 32768, 65535, 40000, 100)
    path = tmp_path / f"colours16.{suffix}"
    path.write_bytes(png_of_rgb16(samples) if suffix == "png" else tiff_of_rgb16(samples))
    assert read_picture(path).tolist() == [[[0, 1, 128], [255, 156, 0]]]


def test_a_float_picture_outside_its_range_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 3.5]], np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif.*3\.5.*0 to 1"):
        read_picture(tmp_path / "float.tif")


def test_palette_and_cmyk_and_grey(tmp_path: Path) -> None:
    palette = Image.new("P", (1, 1), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "palette.png")
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=100)
    Image.new("L", (1, 1), 77).save(tmp_path / "grey.png")
    Image.new("1", (1, 1), 1).save(tmp_path / "bit.png")
    assert read_picture(tmp_path / "palette.png").tolist() == [[[10, 20, 30]]]
    red, green, blue = read_picture(tmp_path / "cmyk.jpg")[4, 4]
    assert red > 250 and green < 5 and blue < 5
    assert read_picture(tmp_path / "grey.png").tolist() == [[[77] * 3]]
    assert read_picture(tmp_path / "bit.png").tolist() == [[[255] * 3]]


def test_transparency_is_composed_over_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 51]]], np.uint8)).save(
        tmp_path / "alpha.png"
    )
    Image.fromarray(np.array([[[0, 0], [9, 255]]], np.uint8), "LA").save(tmp_path / "grey-alpha.png")
    assert read_picture(tmp_path / "alpha.png").tolist() == [[[255] * 3, [10, 20, 30], [204] * 3]]
    assert read_picture(tmp_path / "grey-alpha.png").tolist() == [[[255] * 3, [9] * 3]]


@pytest.mark.parametrize("suffix", ["png", "tif"])  # Pillow rotates a TIFF itself
@pytest.mark.parametrize("orientation", sorted(TRANSPOSED))
def test_exif_orientation_is_applied_to_pictures_and_labels(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = np.array([[0, 50, 100], [150, 200, 250]], np.uint8)
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(stored).save(path, exif=with_orientation(orientation))
    shown = read_picture(path)[..., 0]
    corner = {2: 100, 3: 250, 4: 150, 5: 0, 6: 150, 7: 250, 8: 100}[orientation]  # EXIF 2.32, figure of 4.6.5
    assert shown[0, 0] == corner
    frame = read_frame(path)
    assert frame == Frame(3, 2, orientation) and frame.shown == shown.shape
    assert read_scaled(path, 2)[1] == frame
    assert np.array_equal(read_scaled(path, 2)[0], resize_and_crop(read_picture(path), 2, labels=False))
    if orientation >= 5:
        assert np.array_equal(turn_labels(stored, frame, "map"), shown)
    assert np.array_equal(turn_labels(shown, frame, "map"), shown)


def test_labels_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match=r"map\.png.*5×4.*3×2"):
        turn_labels(np.zeros((4, 5), np.uint8), Frame(3, 2), "map.png")


@pytest.mark.parametrize("content", [b"", b"no picture at all", None])
def test_unreadable_pictures_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.jpg"
    if content is not None:
        path.write_bytes(content)
    for read in (read_picture, read_frame, lambda path: read_scaled(path, 8)):
        with pytest.raises(DataError, match=r"broken\.jpg"):
            read(path)


def test_a_truncated_jpeg_is_broken(tmp_path: Path) -> None:
    jpeg = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(jpeg, "JPEG")
    path = tmp_path / "half.jpg"
    path.write_bytes(jpeg.getvalue()[: len(jpeg.getvalue()) // 2])
    with pytest.raises(DataError, match=r"half\.jpg.*truncated"):
        read_picture(path)


def test_damaged_exif_is_ignored(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "exif.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01")
    assert read_picture(tmp_path / "exif.jpg").shape == (4, 4, 3)
    assert not recwarn


def test_resizing_takes_the_centred_square() -> None:
    pixels = np.zeros((2, 6), np.uint8)
    pixels[:, 2:4] = 9
    assert (resize_and_crop(pixels, 4, labels=True) == 9).all()
    picture = np.repeat(pixels[..., None], 3, axis=2)
    assert resize_and_crop(picture, 2, labels=False).tolist() == [[[9] * 3] * 2] * 2


def test_labels_are_sampled_and_pictures_are_averaged() -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 200).astype(np.uint8)
    assert set(np.unique(resize_and_crop(board, 24, labels=True))) <= {0, 200}
    grey = resize_and_crop(np.repeat(board[..., None], 3, axis=2), 8, labels=False)
    assert abs(grey[2:6, 2:6].astype(int) - 100).max() <= 3


def test_nearest_labels_by_hand() -> None:
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert resize_and_crop(labels, 2, labels=True).tolist() == [[5, 7], [13, 15]]
    assert resize_and_crop(labels, 4, labels=True).tolist() == labels.tolist()


def test_reading_at_a_size_equals_reading_and_resizing(tmp_path: Path) -> None:
    halves(21, 12).save(tmp_path / "small.png", exif=with_orientation(6))
    scaled, frame = read_scaled(tmp_path / "small.png", 8)
    assert np.array_equal(scaled, resize_and_crop(read_picture(tmp_path / "small.png"), 8, labels=False))
    assert frame == Frame(21, 12, 6)


def test_a_large_jpeg_is_decoded_reduced_with_the_same_geometry(tmp_path: Path) -> None:
    halves(1283, 961).save(tmp_path / "large.jpg", quality=95, exif=with_orientation(6))
    quick, frame = read_scaled(tmp_path / "large.jpg", 60)
    exact = resize_and_crop(read_picture(tmp_path / "large.jpg"), 60, labels=False)
    assert frame == Frame(1283, 961, 6)
    assert np.abs(quick.astype(int) - exact).mean() < 1
    assert quick[0, 30, 0] > 200 and quick[-1, 30, 2] > 200


def test_pictures_whose_channels_differ_by_noise_are_grey() -> None:
    grey = np.full((4, 4, 3), 120, np.uint8)
    grey[1, 1] = 118, 120, 122
    assert is_grey(grey)
    grey[2, 2] = 115, 120, 122
    assert not is_grey(grey)


def test_hidden_files_and_other_files_are_skipped(tmp_path: Path) -> None:
    for name in ("b 1.JPG", "ä.png", "._b 1.JPG", "Thumbs.db", ".DS_Store", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "c.webp").touch()
    names = [path.relative_to(tmp_path).as_posix() for path in list_pictures(tmp_path)]
    assert names == ["b 1.JPG", "more/c.webp", "ä.png"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photographs are not there")
def test_the_known_grey_photographs_are_recognised() -> None:
    for folder, grey in (("voc/VOCdevkit/VOC2012/JPEGImages", 44), ("coco", 34)):
        assert sum(is_grey(read_picture(path)) for path in list_pictures(REAL / folder)) == grey


@pytest.mark.parametrize("name", ["a.jfif", "b.JPE", "picture", "2019.12.31", "Mr. Smith", "c.jpg (1)"])
def test_other_suffixes_and_files_without_one_are_recognised(tmp_path: Path, name: str) -> None:
    halves(8, 8).save(tmp_path / name, "JPEG")
    assert list_pictures(tmp_path) == [tmp_path / name]
    assert read_picture(tmp_path / name).shape == (8, 8, 3)


@pytest.mark.parametrize("name", ["a.jpg_original", "a.jpg.1", "a.jpg~", "a.jpg.bak", "a.nef", "a.txt"])
def test_backup_copies_are_no_pictures(tmp_path: Path, name: str) -> None:
    halves(8, 8).save(tmp_path / name, "JPEG")
    assert list_pictures(tmp_path) == []


def test_a_file_without_suffix_that_is_no_picture_is_skipped(tmp_path: Path) -> None:
    for name, content in (("README", b"P6 is a format"), ("LICENSE", b"BMW"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
    assert list_pictures(tmp_path) == []


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def test_a_large_picture_is_limited_by_the_setting_and_not_by_pillow(tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(png_header(20000, 20000))
    assert read_frame(tmp_path / "large.png") == Frame(20000, 20000)
    (tmp_path / "larger.png").write_bytes(png_header(30000, 20000))
    message = (
        r"larger\.png: 30000×20000 pixels are 600 megapixels, and the limit is 500; scale the picture down or "
        r"raise pictures\.max_megapixels$"
    )
    for read in (read_picture, lambda path: read_scaled(path, 8)):
        with pytest.raises(DataError, match=message):
            read(tmp_path / "larger.png")
        with pytest.raises(DataError, match=r"large\.png: (?!.*bomb)"):  # only its header exists
            read(tmp_path / "large.png")


def test_a_png_with_long_metadata_is_read(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("XML:com.adobe.xmp", "history " * 300_000, zip=True)
    Image.new("RGB", (2, 2), "red").save(tmp_path / "edited.png", pnginfo=text)
    assert read_picture(tmp_path / "edited.png").tolist() == [[[255, 0, 0]] * 2] * 2


def test_irregular_files_are_refused_and_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/null"), tmp_path):
        with pytest.raises(DataError, match=f"{path}: not a regular file; replace it by a picture"):
            read_picture(path)


def test_a_broken_link_is_named_with_its_target(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("/mnt/gone/a.jpg")
    assert list_pictures(tmp_path) == [tmp_path / "a.jpg"]
    with pytest.raises(
        DataError, match=r"a\.jpg: no such file \(a link to /mnt/gone/a\.jpg\); add it or correct the path$"
    ):
        read_picture(tmp_path / "a.jpg")
