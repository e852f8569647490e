"""Pictures and folders of pictures for the tests."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, PngImagePlugin


def picture(seed, size=(20, 16)):
    """A picture of its own, of `size` (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def fill(folder, names, seed=0):
    """Write a picture for each name; folders come into being as needed."""
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed + i).save(folder / name)
    return folder


def names_of(files, folder):
    return [path.relative_to(folder).as_posix() for path in files]


def encoded(image, image_format, **options):
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def dirty_folder(folder):
    """Write it; return the names of the readable files, and the reason for each of the others."""
    rgb = picture(1, (200, 150))
    turned = Image.Exif()
    turned[0x0112] = 6
    readable = {
        "Cat/animated.gif": encoded(picture(2), "GIF", save_all=True, append_images=[picture(3)]),
        "Cat/broken-exif.jpg": encoded(rgb, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fxxxx"),
        "Cat/cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "Cat/grey.jpg": encoded(rgb.convert("L"), "JPEG"),
        "Cat/no-suffix": encoded(rgb, "JPEG"),
        "Cat/plain.jpg": encoded(rgb, "JPEG"),
        "Cat/really-a-png.jpg": encoded(rgb, "PNG"),
        "Dog/16-bit.png": encoded(Image.new("I;16", (9, 9), 30000), "PNG"),
        "Dog/bilevel.tif": encoded(rgb.convert("1"), "TIFF"),
        "Dog/deep/er/plain.bmp": encoded(rgb, "BMP"),
        "Dog/grey-alpha.png": encoded(rgb.convert("LA"), "PNG"),
        "Dog/palette.png": encoded(rgb.quantize(4), "PNG", transparency=b"\x00\x80\xff\xff"),
        "Dog/rgba.webp": encoded(rgb.convert("RGBA"), "WEBP"),
        "Dog/turned.jpg": encoded(rgb, "JPEG", exif=turned),
    }
    jpeg, png = encoded(rgb, "JPEG"), encoded(rgb, "PNG")
    bomb = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 1, 0, 0, 0, 0))
    bomb += chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    unreadable = {
        ".hidden.jpg": (jpeg, "hidden"),
        "Cat/.DS_Store": (b"\0\0\0\1Bud1", "hidden"),
        "Cat/._plain.jpg": (jpeg, "hidden"),
        "Cat/666.jpg": (b"", "zero-length"),
        "Cat/Thumbs.db": (b"\xd0\xcf\x11\xe0", "operating system"),
        "Cat/page.jpg": (b"<!DOCTYPE html>", "not an image"),
        "Cat/random.png": (b"\xde\xad\xbe\xef" * 64, "not an image"),
        "Dog/bomb.png": (PngImagePlugin._MAGIC + bomb, "bomb"),
        "Dog/cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "Dog/cut.png": (png[: len(png) // 2], ""),  # Pillow's words
        "readme[1].txt": (b"Cats and dogs", "beside the class folders"),
    }
    for name, content in readable.items() | {
        (n, content) for n, (content, _) in unreadable.items()
    }:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return list(readable), {name: reason for name, (_, reason) in unreadable.items()}
