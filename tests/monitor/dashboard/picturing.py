"""Pictures of pages, which carry what the page said when they were taken; and whether they still show it.

A picture's pixels depend on the browser's release and on its fonts. So two things are compared that do not. What the
page says, word for word, with what its drawings say: that stands in the picture's file, in a part of its own, which
programs that show pictures pass over. And how the whole looks from afar: in a few cells, whose colours are compared.
"""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent.parent.parent
FOLDER = ROOT / "docs" / "pictures"
#: How a page's picture is renewed.
RENEW = "make pictures"
#: Bytes of a picture.
LARGEST = 150_000
#: How far the cells of two pictures of one page may be from each other, of 255, on average. Other fonts come to 1.2,
#: and another ground behind the cards to 40.
TOLERANCE = 4.0
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK, _KEY = b"zTXt", b"page\x00\x00"

#: What a page says, and what its drawings say to those who do not see them.
_SAID = """async () => {
  const lines = [document.body.innerText];
  for (const image of document.querySelectorAll("main img")) {
    const drawn = new DOMParser().parseFromString(await (await fetch(image.currentSrc)).text(), "image/svg+xml");
    lines.push(image.alt);
    for (const one of drawn.querySelectorAll("[aria-label]")) lines.push(one.getAttribute("aria-label"));
  }
  return lines.join("\\n");
}"""

#: The mean distance between the cells of two pictures.
_APART = """async ([one, other]) => {
  const cells = async (address) => {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [16, 12];
    const drawing = canvas.getContext("2d");
    drawing.imageSmoothingQuality = "high";
    drawing.drawImage(image, 0, 0, 16, 12);
    return drawing.getImageData(0, 0, 16, 12).data;
  };
  const [left, right] = [await cells(one), await cells(other)];
  return left.reduce((sum, value, at) => sum + Math.abs(value - right[at]), 0) / left.length * 4 / 3;
}"""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A documented picture.

    Attributes:
        name: of its file, without the ending.
        path: the page's.
        scheme: ``light`` or ``dark``.
        width: of the window, in pixels.
        height: the same.
        scroll: what is scrolled to first; "" for the top.
    """

    name: str
    path: str
    scheme: str = "light"
    width: int = 1280
    height: int = 900
    scroll: str = ""

    @property
    def file(self) -> Path:
        """Where it lies."""
        return FOLDER / f"{self.name}.png"


#: The pixels of a picture.
_PIXELS = """async (address) => {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const drawing = canvas.getContext("2d");
  drawing.drawImage(image, 0, 0);
  const raw = drawing.getImageData(0, 0, image.width, image.height).data;
  let text = "";
  for (let at = 0; at < raw.length; at += 32768) text += String.fromCharCode(...raw.subarray(at, at + 32768));
  return [image.width, image.height, btoa(text)];
}"""


def said(page: Any) -> str:
    """Return what an open page says, a line each, however its lines are broken."""
    lines = (" ".join(line.split()) for line in str(page.evaluate(_SAID)).splitlines())
    return "\n".join(line for line in lines if line)


def apart(page: Any, one: bytes, other: bytes) -> float:
    """Return how far two pictures are from each other from afar, of 255; any page computes it."""
    page.goto("about:blank")
    addresses = ["data:image/png;base64," + base64.b64encode(each).decode() for each in (one, other)]
    return float(page.evaluate(_APART, addresses))


def drawn(page: Any, picture: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a picture, shape (height, width, 3); any page computes them."""
    page.goto("about:blank")
    width, height, raw = page.evaluate(_PIXELS, "data:image/png;base64," + base64.b64encode(picture).decode())
    return np.frombuffer(base64.b64decode(raw), np.uint8).reshape(height, width, 4)[:, :, :3]


def png(pixels: NDArray[np.uint8], text: str) -> bytes:
    """Return a PNG of 256 colours, those that most of the pixels have, which carries a text.

    Args:
        pixels: shape (height, width, 3).
        text: what it carries.
    """
    height, width, _ = pixels.shape
    flat = pixels.reshape(-1, 3)
    # Colours that nobody tells apart are one: all that their first six bits are of, and of them the mean.
    _, places, counts = np.unique(flat & 0xFC, axis=0, return_inverse=True, return_counts=True)
    sums = [np.bincount(places.ravel(), weights=flat[:, channel]) for channel in range(3)]
    colours = np.rint(np.stack(sums, axis=1) / counts[:, None])
    palette = colours[np.argsort(-counts, kind="stable")[:256]]
    nearest = [int(np.abs(palette - one).sum(axis=1).argmin()) for one in colours]
    rows = np.array(nearest, np.uint8)[places.ravel()].reshape(height, width)
    content = np.hstack([np.zeros((height, 1), np.uint8), rows])
    body = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.astype(np.uint8).tobytes()),
        (_CHUNK, _KEY + zlib.compress(text.encode(), level=9)),
        (b"IDAT", zlib.compress(content.tobytes(), level=9)),
        (b"IEND", b""),
    ]
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in body
    )


def text_of(picture: bytes) -> str:
    """Return the text that a PNG carries; "" where it carries none."""
    for kind, content in _chunks(picture):
        if kind == _CHUNK and content.startswith(_KEY):
            return zlib.decompress(content[len(_KEY) :]).decode()
    return ""


def _chunks(picture: bytes) -> list[tuple[bytes, bytes]]:
    start, found = len(_SIGNATURE), []
    while start < len(picture):
        (size,) = struct.unpack_from(">I", picture, start)
        found.append((picture[start + 4 : start + 8], picture[start + 8 : start + 8 + size]))
        start += 12 + size  # the size, the kind and the checksum are four bytes each
    return found
