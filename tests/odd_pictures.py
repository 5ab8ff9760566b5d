"""Odd pictures of many formats, sizes and faults, with the pixels that a viewer shows."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

Pixels = NDArray[np.uint8]
WIDTH, HEIGHT = 60, 44
ORIENTATION = 0x0112
LONG = "ä" * 125 + ".png"
"""Name of 254 bytes; file systems allow 255."""


@dataclass(frozen=True)
class Odd:
    """Path of a picture, and what a viewer shows; without pixels, the expected part of the error."""

    name: str
    shown: Pixels | None
    """uint8 (H, W, 3) RGB; None for a file that cannot be translated."""
    fault: str = ""
    """Part of the one line on a file that cannot be translated."""
    tolerance: float = 1.0
    """Largest mean difference of the brightness, in levels: lossy formats change it."""


def scene(width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """Return a smooth picture with a bright disc, whose four corners differ: uint8 (height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    right, down = x / max(1, width - 1), y / max(1, height - 1)
    pixels = np.stack([40 + 150 * right, 60 + 120 * down, 200 - 90 * right * down], axis=-1)
    pixels[(right - 0.3) ** 2 + (down - 0.4) ** 2 < 0.03] = (250, 240, 90)
    return pixels.astype(np.uint8)


def grey(pixels: Pixels) -> Pixels:
    """Return a picture as its brightness in three equal channels."""
    return np.array(Image.fromarray(pixels).convert("L").convert("RGB"))


def over_white(pixels: Pixels, alpha: float) -> Pixels:
    return np.rint(alpha * pixels + (1 - alpha) * 255).astype(np.uint8)


def png(width: int, height: int, depth: int, colour: int, content: bytes) -> bytes:
    """Return a PNG file with this header and these compressed pixels (PNG specification, 11.2)."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0),
        b"IDAT": content,
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


def sizes() -> list[Odd]:
    """Write pictures of odd sizes."""
    odd = []
    for name, width, height in (
        ("dot.png", 1, 1),
        ("column.png", 1, 3000),
        ("row.png", 3000, 1),
        ("two.bmp", 2, 3),
        ("panorama.png", 4000, 24),
    ):
        Image.fromarray(scene(width, height)).save(name)
        odd.append(Odd(name, scene(width, height)))
    return odd


def modes() -> list[Odd]:
    """Write pictures of many pixel formats."""
    pixels = scene()
    picture, levels = Image.fromarray(pixels), grey(pixels)
    odd = []

    def add(name: str, image: Image.Image, shown: Pixels, tolerance: float = 1.0, **options: object) -> None:
        image.save(name, **options)
        odd.append(Odd(name, shown, tolerance=tolerance))

    add("grey.png", picture.convert("L"), levels)
    add("bilevel.png", picture.convert("1"), np.array(picture.convert("1").convert("RGB")))
    add("deep.png", Image.fromarray(levels[..., 0].astype(np.uint16) * 257), levels)
    Path("deep-rgb.png").write_bytes(
        png(
            WIDTH,
            HEIGHT,
            16,
            2,
            zlib.compress(b"".join(b"\0" + row.tobytes() for row in (pixels.astype(">u2") * 257))),
        )
    )
    odd.append(Odd("deep-rgb.png", pixels))
    translucent = picture.copy()
    translucent.putalpha(102)
    add("alpha.png", translucent, over_white(pixels, 0.4))
    add("grey-alpha.png", translucent.convert("LA"), over_white(levels, 0.4))
    palette = picture.quantize(64)
    index = palette.getpixel((0, 0))
    plain = np.array(palette.convert("RGB"))
    clear = np.where((np.asarray(palette) == index)[..., None], 255, plain).astype(np.uint8)
    add("palette.png", palette, plain)
    add("palette-clear.png", palette, clear, transparency=index)
    add("palette.gif", palette, plain)
    add("print.jpg", picture.convert("CMYK"), pixels, tolerance=4)
    add("print.tif", picture.convert("CMYK"), pixels)
    add("float.tif", Image.fromarray((levels[..., 0] / 255).astype(np.float32)), levels)
    tifffile.imwrite("deep.tif", pixels.astype(np.uint16) * 257, photometric="rgb")
    odd.append(Odd("deep.tif", pixels))
    tifffile.imwrite("white-is-zero.tif", 255 - levels[..., 0], photometric="miniswhite")
    odd.append(Odd("white-is-zero.tif", levels))
    return odd


def formats() -> list[Odd]:
    """Write pictures of many file formats. Only the first frame of an animated picture is shown."""
    pixels = scene()
    picture = Image.fromarray(pixels)
    other = Image.fromarray(pixels[::-1].copy())
    frames = {"save_all": True, "append_images": [other], "duration": 100}
    odd = []

    def add(name: str, tolerance: float = 1.0, **options: object) -> None:
        picture.save(name, **options)
        odd.append(Odd(name, pixels, tolerance=tolerance))

    add("plain.bmp")
    add("plain.ppm")
    add("plain.tga")
    add("progressive.jpg", 3, progressive=True, quality=95)
    add(
        "profile.jpg", 3, quality=95, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    )
    add("pages.tif", save_all=True, append_images=[other])
    add("moving.png", **frames)
    add("two-cameras.mpo", 3, save_all=True, append_images=[other], quality=95)
    if features.check("webp"):
        add("moving.webp", lossless=True, **frames)
    if features.check("avif"):
        add("plain.avif", 3, quality=95)
    if features.check("jpg_2000"):
        add("plain.jp2")
    quantized = picture.quantize(64)
    quantized.save("moving.gif", save_all=True, append_images=[other.quantize(64)], duration=100)
    odd.append(Odd("moving.gif", np.array(quantized.convert("RGB"))))
    return odd


def orientations() -> list[Odd]:
    """Write turned pictures with the EXIF orientation that shows them upright."""
    pixels = scene()
    stored: dict[int, Callable[[Pixels], Pixels]] = {
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: np.rot90,
        8: lambda p: np.rot90(p, -1),
    }
    odd = []
    for number, suffix in ((2, ".jpg"), (3, ".tif"), (5, ".png"), (6, ".jpg"), (6, ".tif"), (8, ".webp")):
        if suffix == ".webp" and not features.check("webp"):
            continue
        exif = Image.Exif()
        exif[ORIENTATION] = number
        options = {".jpg": {"quality": 95}, ".webp": {"lossless": True}}.get(suffix, {})
        name = f"turned-{number}{suffix}"
        Image.fromarray(np.ascontiguousarray(stored[number](pixels))).save(name, exif=exif, **options)
        odd.append(Odd(name, pixels, tolerance=3))
    return odd


def names() -> list[Odd]:
    """Write pictures with odd names."""
    odd = []
    for name in (
        "naïve 名前 – (1).png",
        " spaces .png",
        "two\nlines.png",
        "[brackets]*.png",
        "UPPER.PNG",
        "no suffix",
        LONG,
    ):
        Image.fromarray(scene()).save(name, "PNG")
        odd.append(Odd(name, scene()))
    return odd


def broken() -> list[Odd]:
    """Write files that are no pictures, or damaged ones."""
    pixels = scene(200, 150)
    picture = Image.fromarray(pixels)
    odd = []

    def add(name: str, content: bytes, fault: str) -> None:
        Path(name).write_bytes(content)
        odd.append(Odd(name, None, fault))

    for suffix in (".jpg", ".png", ".gif", ".bmp", ".tif", *([".webp"] if features.check("webp") else [])):
        content = io.BytesIO()
        options = {"compression": "tiff_lzw"} if suffix == ".tif" else {}
        picture.save(content, Image.registered_extensions()[suffix], **options)
        add(f"half{suffix}", content.getvalue()[: len(content.getvalue()) // 2], "")
    add("empty.png", b"", "not a picture of a known format")
    add("text.png", b"Dear diary,\n", "not a picture of a known format")
    add("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture of a known format")
    add("bomb.png", png(60000, 60000, 8, 2, zlib.compress(b"\0")), "3600 megapixels, and the limit is 500")
    add("nothing.png", png(0, 0, 8, 2, zlib.compress(b"")), "")
    add("nothing.gif", b"GIF89a\0\0\0\0\x80\0\0\xff\xff\xff\0\0\0,\0\0\0\0\0\0\0\0\0\x02\x01\0\0;", "")
    values = np.linspace(-3, 900, WIDTH * HEIGHT, dtype=np.float32).reshape(HEIGHT, WIDTH)
    tifffile.imwrite("metres.tif", values)
    odd.append(Odd("metres.tif", None, "grey values from -3 to 900 exceed the range 0 to 1"))
    values[0] = np.nan
    tifffile.imwrite("nan.tif", values)
    odd.append(Odd("nan.tif", None, "60 grey values are NaN or infinite"))
    Path("loop.png").symlink_to("loop.png")
    odd.append(Odd("loop.png", None, "Too many levels of symbolic links"))
    odd.append(Odd("missing.png", None, "no such file"))
    Path("lost.png").symlink_to("nowhere.png")
    odd.append(Odd("lost.png", None, "no such file (a link to nowhere.png)"))
    Path("folder.png").mkdir()
    odd.append(Odd("folder.png", None, "the folder has no picture"))
    odd.append(Odd("no match *.png", None, "no picture matches the pattern"))
    odd.append(Odd("x" * 300 + ".png", None, "File name too long"))
    return odd


@pytest.fixture
def odd_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Odd]:
    """Write all odd pictures to a new working directory; return them, broken and sound ones in turn."""
    monkeypatch.chdir(tmp_path)
    sound = [*sizes(), *modes(), *formats(), *orientations(), *names()]
    faulty = broken()
    every = max(1, len(sound) // len(faulty))
    mixed = []
    for number, odd in enumerate(sound):
        mixed.append(odd)
        if number % every == 0 and faulty:
            mixed.append(faulty.pop(0))
    return [*mixed, *faulty]


def brightness(pixels: Pixels) -> NDArray[np.float64]:
    """Return the luma of a picture, (H, W)."""
    return np.asarray(pixels) @ np.array([0.299, 0.587, 0.114])


def escaped(name: str) -> str:
    """Return a name as it stands in one line."""
    return " ".join(os.fsdecode(name).split())
