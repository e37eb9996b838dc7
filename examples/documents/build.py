"""Make the sample documents and pictures again from their sources.

The PDFs come out of LibreOffice as an office makes them, and stay so: only the time, the identifier and the check
sum of the export are set to fixed values of the same length, so that building twice gives the same bytes. The two
pictures follow Decree 30/2020/NĐ-CP, Annex I, part I, II.7d and II.8a: a blue signature and a red seal at true size.
All that they show is invented.

Run it with ``make documents``. It needs LibreOffice Writer and the fonts Tinos (Debian packages
``libreoffice-writer-nogui`` and ``fonts-croscore``).
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import math
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pikepdf
from PIL import Image, ImageDraw, ImageFont

SOURCES = Path(__file__).resolve().parent
PACKAGE = SOURCES.parents[1] / "vnedoc"
CONVERT_LIMIT_S = 300.0

# The export's time is that of the sources: 2 November 2026, 08:00 in Vietnam.
EXPORTED_AT = b"20261102010000"

FONT_FOLDERS = (
    PACKAGE / "sign" / "fonts",
    Path("/usr/share/fonts/truetype/croscore"),
    Path("/usr/share/fonts"),
)

Point = tuple[float, float]


def main() -> int:
    """Build everything into the package, or into the folder that is named."""
    parser = argparse.ArgumentParser(description="Make the sample documents and pictures again.")
    parser.add_argument("--output", type=Path, default=PACKAGE / "testing" / "documents", metavar="DIR")
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    for source, content in export(sorted(SOURCES.glob("*.fodt"))).items():
        fixed = with_fixed_identity(content)
        (output / f"{source.stem}.pdf").write_bytes(fixed)
        check_fonts(output / f"{source.stem}.pdf")
    turn(output / "cong-van.pdf", output / "trang-xoay.pdf")
    crop(output / "cong-van.pdf", output / "trang-cat.pdf")
    draw_signature(output / "leader-signature.png")
    draw_seal(output / "agency-seal.png")
    for path in sorted((*output.glob("*.pdf"), *output.glob("*.png"))):
        print(f"{path.stat().st_size:>8}  {path.name}")
    return 0


# --- PDFs ---------------------------------------------------------------------------------------------------------


def export(sources: list[Path]) -> dict[Path, bytes]:
    """Convert the flat ODT files by LibreOffice, in a profile of its own that is thrown away."""
    office = shutil.which("soffice")
    if office is None:
        sys.exit("LibreOffice is needed: install libreoffice-writer-nogui.")
    with tempfile.TemporaryDirectory(prefix="vnedoc-documents-") as name:
        folder = Path(name)
        subprocess.run(  # noqa: S603 - a fixed program on files of this folder
            [
                office,
                f"-env:UserInstallation={(folder / 'profile').as_uri()}",
                "--headless",
                "--convert-to",
                'pdf:writer_pdf_Export:{"UseTaggedPDF":{"type":"boolean","value":"true"}}',
                "--outdir",
                str(folder / "pdf"),
                *map(str, sources),
            ],
            check=True,
            timeout=CONVERT_LIMIT_S,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # soffice ends with 0 even when a conversion failed; then the file is missing here.
        return {source: (folder / "pdf" / f"{source.stem}.pdf").read_bytes() for source in sources}


def with_fixed_identity(content: bytes) -> bytes:
    """Set time, identifier and check sum to values that depend on the document alone.

    Everything is replaced by the same number of bytes: no offset moves, the rest stays as the office wrote it.
    """
    content = _replace_one(rb"(?<=/CreationDate\(D:)\d{14}", EXPORTED_AT, content)
    identifier = rb"(?<=/ID \[ <)[0-9A-F]{32}(?=>\s<[0-9A-F]{32}> \])"
    repeated = rb"(?<=>\n<)[0-9A-F]{32}(?=> \]\n)"
    checksum = rb"(?<=/DocChecksum /)[0-9A-F]{32}"
    for pattern in (identifier, repeated, checksum):
        content = _replace_one(pattern, b"0" * 32, content)
    digest = hashlib.sha256(content).hexdigest()[:32].upper().encode()
    for pattern in (identifier, repeated, checksum):
        content = _replace_one(pattern, digest, content)
    return content


def _replace_one(pattern: bytes, value: bytes, content: bytes) -> bytes:
    replaced, count = re.subn(pattern, value, content)
    if count != 1 or len(replaced) != len(content):
        sys.exit(f"This LibreOffice writes its exports differently: {pattern!r} is there {count} times.")
    return replaced


def check_fonts(path: Path) -> None:
    """Stop when a font was replaced by another one, or is not embedded."""
    with pikepdf.open(path) as pdf:
        for item in pdf.objects:
            if isinstance(item, pikepdf.Dictionary) and item.get("/Type") == "/FontDescriptor":
                name = str(item.FontName)
                if "+Tinos" not in name or "/FontFile2" not in item:
                    sys.exit(f"{path.name} uses the font {name}: install fonts-croscore.")


def turn(source: Path, output: Path) -> None:
    """Lay an upright page on its side and let /Rotate show it upright again, as many scanners do."""
    with pikepdf.open(source) as pdf:
        page = pdf.pages[0]
        _, _, width, height = (float(number) for number in page.mediabox)
        # /Rotate 90 shows the point (x, y) at (y, height - x); the content takes the way back.
        _place(pdf, page, f"0 1 -1 0 {height:.3f} 0 cm")
        page.mediabox = pikepdf.Array([0, 0, round(height, 3), round(width, 3)])
        page.rotate(90, relative=False)
        pdf.save(output, deterministic_id=True)


def crop(source: Path, output: Path) -> None:
    """Put the page on a larger sheet whose corner is not the origin, as a print shop does."""
    left, lower, bleed = -12.0, 20.0, 36.0
    with pikepdf.open(source) as pdf:
        page = pdf.pages[0]
        _, _, width, height = (float(number) for number in page.mediabox)
        x, y = left + bleed, lower + bleed
        _place(pdf, page, f"1 0 0 1 {x:g} {y:g} cm")
        page.mediabox = pikepdf.Array(
            [left, lower, round(x + width + bleed, 3), round(y + height + bleed, 3)]
        )
        page.cropbox = pikepdf.Array([x, y, round(x + width, 3), round(y + height, 3)])
        pdf.save(output, deterministic_id=True)


def _place(pdf: pikepdf.Pdf, page: pikepdf.Page, operator: str) -> None:
    page.contents_add(pdf.make_stream(f"q {operator}\n".encode()), prepend=True)
    page.contents_add(pdf.make_stream(b"\nQ\n"))


# --- Pictures -----------------------------------------------------------------------------------------------------

OVERSAMPLING = 3
BLUE = (22, 48, 158)
RED = (206, 17, 38)

# Strokes of a pen on a sheet of 900 x 400, x to the right and y down. They spell no name.
STROKES: tuple[tuple[Point, ...], ...] = (
    (
        (92, 236), (128, 168), (212, 92), (318, 52), (372, 66), (340, 122), (268, 214), (208, 306), (176, 348),
        (160, 330), (196, 262), (262, 204), (316, 186), (332, 208), (306, 252), (320, 268), (362, 232), (392, 196),
        (388, 244), (404, 256), (440, 206), (452, 200), (448, 250), (466, 254), (500, 204), (514, 206), (508, 246),
        (530, 248), (582, 214), (640, 200), (700, 198),
    ),
    (
        (742, 96), (700, 82), (636, 128), (572, 222), (520, 318), (486, 362), (470, 340), (520, 296), (640, 262),
        (760, 250), (838, 262),
    ),
    ((240, 352), (380, 322), (560, 306), (720, 312), (810, 336)),
)  # fmt: skip


def draw_signature(output: Path) -> None:
    """Draw a blue signature of nobody: 900 x 400 pixels at 300 dpi."""
    size = (900, 400)
    mask = Image.new("L", (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING), 0)
    pen = ImageDraw.Draw(mask)
    for stroke in STROKES:
        line = _smooth(stroke)
        for index, (x, y) in enumerate(line):
            radius = _pen_width(line, index) / 2 * OVERSAMPLING
            x, y = x * OVERSAMPLING, y * OVERSAMPLING
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    _save(mask.resize(size, Image.Resampling.LANCZOS), BLUE, output, dpi=300)


def _smooth(points: tuple[Point, ...], steps: int = 180) -> list[Point]:
    """Join points by Catmull-Rom curves."""
    line: list[Point] = []
    padded = (points[0], *points, points[-1])
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        for step in range(steps):
            t = step / steps
            x, y = (
                0.5
                * (
                    2 * b[axis]
                    + (c[axis] - a[axis]) * t
                    + (2 * a[axis] - 5 * b[axis] + 4 * c[axis] - d[axis]) * t**2
                    + (3 * b[axis] - a[axis] - 3 * c[axis] + d[axis]) * t**3
                )
                for axis in (0, 1)
            )
            line.append((x, y))
    return line


def _pen_width(line: list[Point], index: int) -> float:
    """Return the width of the line at a point: heavier downwards, thin where the pen comes and goes."""
    before, after = line[max(index - 36, 0)], line[min(index + 36, len(line) - 1)]
    length = math.dist(before, after) or 1.0
    downwards = (after[1] - before[1]) / length
    ends = min(index, len(line) - 1 - index) / 210
    return (7.4 + 2.8 * downwards) * min(1.0, 0.25 + 0.75 * ends)


SEAL_PIXELS = 850
SEAL_DPI = 600
PIXELS_PER_MM = SEAL_DPI / 25.4


def draw_seal(output: Path) -> None:
    """Draw a red seal of 36 mm at 600 dpi that says in three places that it is a test."""
    side = SEAL_PIXELS * OVERSAMPLING
    unit = PIXELS_PER_MM * OVERSAMPLING
    mask = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(mask)
    centre = side / 2
    for radius, thickness in ((17.9, 1.0), (16.4, 0.35), (10.9, 0.45)):
        reach = radius * unit
        box = (centre - reach, centre - reach, centre + reach, centre + reach)
        pen.ellipse(box, outline=255, width=round(thickness * unit))
    pen.polygon(_star((centre, centre - 3.2 * unit), 4.9 * unit), fill=255)
    pen.text((centre, centre + 6.4 * unit), "TEST", font=_font("Bold", 5.8 * unit), fill=255, anchor="ms")
    font = _font("Bold", 3.15 * unit)
    _around(mask, "ỦY BAN NHÂN DÂN TỈNH TEST", font, radius=12.55 * unit, spacing=0.12 * unit)
    _around(mask, "MẪU THỬ", font, radius=14.6 * unit, spacing=0.12 * unit, lower=True)
    pen = ImageDraw.Draw(mask)
    for angle in (144, 36):
        x, y = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        pen.polygon(_star((centre + 13.6 * unit * x, centre + 13.6 * unit * y), 0.95 * unit), fill=255)
    _save(mask.resize((SEAL_PIXELS, SEAL_PIXELS), Image.Resampling.LANCZOS), RED, output, dpi=SEAL_DPI)


def _star(centre: Point, radius: float) -> list[Point]:
    # The inner corners of a regular five-pointed star lie on the lines between its points.
    inner = radius * math.sin(math.radians(18)) / math.sin(math.radians(54))
    corners: list[Point] = []
    for index in range(10):
        angle = math.radians(-90 + 36 * index)
        reach = inner if index % 2 else radius
        corners.append((centre[0] + reach * math.cos(angle), centre[1] + reach * math.sin(angle)))
    return corners


def _around(
    mask: Image.Image,
    text: str,
    font: ImageFont.FreeTypeFont,
    *,
    radius: float,
    spacing: float,
    lower: bool = False,
) -> None:
    """Write a text along a circle, its middle at the top, or at the bottom with its feet outwards."""
    centre = mask.width / 2
    side = round(font.size) * 3
    widths = [font.getlength(letter) + spacing for letter in text]
    position = -sum(widths) / 2
    for letter, width in zip(text, widths, strict=True):
        angle = (position + width / 2) / radius
        position += width
        # The foot of the letter is the middle of its tile, and the point about which the tile is turned.
        tile = Image.new("L", (side, side), 0)
        ImageDraw.Draw(tile).text((side / 2, side / 2), letter, font=font, fill=255, anchor="ms")
        turned = tile.rotate(math.degrees(angle if lower else -angle), Image.Resampling.BICUBIC)
        x = centre + radius * math.sin(angle)
        y = centre + radius * math.cos(angle) * (1 if lower else -1)
        mask.paste(255, (round(x - side / 2), round(y - side / 2)), turned)


@functools.cache
def _font(style: str, size: float) -> ImageFont.FreeTypeFont:
    for folder in FONT_FOLDERS:
        for path in sorted(folder.rglob(f"Tinos-{style}.ttf")):
            return ImageFont.truetype(path, round(size))
    sys.exit("The fonts Tinos are needed: install fonts-croscore.")


def _save(mask: Image.Image, colour: tuple[int, int, int], output: Path, *, dpi: int) -> None:
    """Save one colour under a mask; sixteen steps of transparency are enough, and keep the file small."""
    picture = Image.new("RGBA", mask.size, (*colour, 0))
    picture.putalpha(mask.point([min(255, (value + 8) // 17 * 17) for value in range(256)]))
    picture.save(output, optimize=True, dpi=(dpi, dpi))


if __name__ == "__main__":
    sys.exit(main())
