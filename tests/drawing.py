"""PDFs and pictures that tests draw themselves, and what is seen when a page is rendered."""

from __future__ import annotations

import dataclasses
import io
import subprocess
from typing import TYPE_CHECKING

import pikepdf
import pypdfium2
from PIL import Image, ImageChops, ImageDraw
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from vnedoc.sign._pyhanko.appearance import render_appearance
from vnedoc.sign.appearance import Appearance, PlacedText, TextBlock
from vnedoc.sign.fonts import FontStyle
from vnedoc.sign.models import Box
from vnedoc.sign.pages import PageGeometry, open_pages

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MM = 72 / 25.4
DPI = 150


@dataclasses.dataclass(frozen=True)
class Words:
    """A text on a page, in shown coordinates."""

    x: float
    baseline: float
    text: str
    size: float = 14.0
    style: FontStyle = FontStyle.REGULAR


def blank_pdf(
    *,
    media: Sequence[float] = (0, 0, 595, 842),
    crop: Sequence[float] | None = None,
    rotate: int | None = None,
    user_unit: float | None = None,
    pages: int = 1,
    inherited: bool = False,
) -> bytes:
    """Return a PDF with blank pages."""
    with pikepdf.new() as document:
        for _ in range(pages):
            document.add_blank_page()
            page = document.pages[-1].obj
            holder = document.Root.Pages if inherited else page
            if inherited:
                del page.MediaBox
            holder.MediaBox = pikepdf.Array(media)
            if crop is not None:
                holder.CropBox = pikepdf.Array(crop)
            if rotate is not None:
                holder.Rotate = rotate
            if user_unit is not None:
                page.UserUnit = user_unit
        stream = io.BytesIO()
        document.save(stream)
        return stream.getvalue()


def write_words(content: bytes, words: Sequence[Words], *, page: int = 1) -> bytes:
    """Return a PDF with texts drawn into a page, upright as shown."""
    with open_pages(content) as opened:
        geometry = opened.geometry(page)
    writer = IncrementalPdfFileWriter(io.BytesIO(content))
    page_object = writer.root["/Pages"]["/Kids"][page - 1]
    size = Appearance(
        geometry.width,
        geometry.height,
        tuple(
            PlacedText(
                TextBlock((item.text,), font_size=item.size, style=item.style), item.x, item.baseline, 1000
            )
            for item in words
        ),
    )
    form = render_appearance(writer, size, geometry)
    # A page draws a form through its matrix alone, so what a viewer does for an annotation is done here.
    x0, y0, x1, y1 = geometry.crop_box
    unit = geometry.user_unit
    moves = {0: (x0, y0), 90: (x1, y0), 180: (x1, y1), 270: (x0, y1)}[geometry.rotate]
    matrix = f"{1 / unit} 0 0 {1 / unit} {moves[0]} {moves[1]} cm"
    stream = generic.StreamObject(stream_data=f"q {matrix} /Words Do Q".encode())
    page_object[pdf_name("/Contents")] = writer.add_object(stream)
    page_object[pdf_name("/Resources")] = generic.DictionaryObject(
        {pdf_name("/XObject"): generic.DictionaryObject({pdf_name("/Words"): form})}
    )
    writer.update_container(page_object)
    output = io.BytesIO()
    writer.write(output)
    return output.getvalue()


def show(
    content: bytes, box: Box, appearance: Appearance, *, page: int = 1, subtype: str = "/Stamp"
) -> bytes:
    """Return a PDF with an annotation that shows an appearance."""
    return show_all(content, [(box, appearance)], page=page, subtype=subtype)


def show_all(
    content: bytes, shown: Sequence[tuple[Box, Appearance]], *, page: int = 1, subtype: str = "/Stamp"
) -> bytes:
    """Return a PDF with annotations that show appearances."""
    with open_pages(content) as opened:
        geometry = opened.geometry(page)
    writer = IncrementalPdfFileWriter(io.BytesIO(content))
    for box, appearance in shown:
        form = render_appearance(writer, appearance, geometry)
        annotate(writer, geometry, box, form, page=page, subtype=subtype)
    output = io.BytesIO()
    writer.write(output)
    return output.getvalue()


def annotate(
    writer: IncrementalPdfFileWriter,
    geometry: PageGeometry,
    box: Box,
    form: generic.IndirectObject,
    *,
    page: int = 1,
    subtype: str = "/Stamp",
) -> None:
    """Add an annotation with a normal appearance to a page."""
    annotation = generic.DictionaryObject(
        {
            pdf_name("/Type"): pdf_name("/Annot"),
            pdf_name("/Subtype"): pdf_name(subtype),
            pdf_name("/Rect"): generic.ArrayObject(
                [generic.FloatObject(round(n, 4)) for n in geometry.to_pdf(box)]
            ),
            pdf_name("/F"): generic.NumberObject(132),
            pdf_name("/AP"): generic.DictionaryObject({pdf_name("/N"): form}),
        }
    )
    if subtype == "/Widget":
        annotation[pdf_name("/FT")] = pdf_name("/Sig")
        annotation[pdf_name("/T")] = generic.TextStringObject("TEST")
    page_object = writer.root["/Pages"]["/Kids"][page - 1]
    annotations = page_object.get("/Annots", generic.ArrayObject())
    reference = writer.add_object(annotation)
    if subtype == "/Widget":
        # A viewer that knows forms shows only the fields of the form.
        form_object = generic.DictionaryObject({pdf_name("/Fields"): generic.ArrayObject([reference])})
        writer.root[pdf_name("/AcroForm")] = writer.add_object(form_object)
        writer.update_root()
    annotations.append(reference)
    page_object[pdf_name("/Annots")] = annotations
    writer.update_container(page_object)


def asymmetric_png() -> bytes:
    """Return a transparent picture, 400×200: red in the upper left quarter's corner, blue along the lower right."""
    image = Image.new("RGBA", (400, 200), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 99, 99), fill=(220, 0, 0, 255))
    draw.rectangle((200, 150, 399, 199), fill=(0, 0, 220, 255))
    return png(image)


def seal_png(*, margin: int = 0, dpi: float | None = None, size: int = 600) -> bytes:
    """Return a red ring on a transparent background, with blank margins."""
    image = Image.new("RGBA", (size + 2 * margin, size + 2 * margin), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse(
        (margin, margin, margin + size - 1, margin + size - 1), outline=(210, 0, 0, 255), width=size // 20
    )
    return png(image, dpi=dpi)


def signature_png() -> bytes:
    """Return a blue block with a transparent middle, 300×120, that reaches all four edges."""
    image = Image.new("RGBA", (300, 120), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((0, 0, 299, 119), outline=(0, 0, 210, 255), width=6)
    return png(image)


def png(image: Image.Image, *, dpi: float | None = None) -> bytes:
    """Return a picture as PNG."""
    stream = io.BytesIO()
    image.save(stream, "PNG", **({} if dpi is None else {"dpi": (dpi, dpi)}))
    return stream.getvalue()


def render_pdfium(content: bytes, folder: Path, *, page: int = 1) -> Image.Image:
    """Return what PDFium shows."""
    with pypdfium2.PdfDocument(content) as document:
        document.init_forms()
        shown = document[page - 1]
        return shown.render(scale=DPI / 72, may_draw_forms=True).to_pil().convert("RGB")


def render_poppler(content: bytes, folder: Path, *, page: int = 1) -> Image.Image:
    """Return what Poppler shows."""
    source = folder / "shown.pdf"
    source.write_bytes(content)
    subprocess.run(
        [
            "pdftoppm",
            "-r",
            str(DPI),
            "-cropbox",
            "-png",
            "-f",
            str(page),
            "-l",
            str(page),
            source,
            folder / "shown",
        ],
        check=True,
        capture_output=True,
    )
    (picture,) = folder.glob("shown-*.png")
    with Image.open(picture) as image:
        image.load()
        shown = image.convert("RGB")
    picture.unlink()
    return shown


@dataclasses.dataclass(frozen=True)
class Ink:
    """A colour to look for: for red, green and blue, whether there is much of it."""

    red: bool
    green: bool
    blue: bool

    def mask(self, image: Image.Image) -> Image.Image:
        """Return white where the colour is, black elsewhere."""
        bands = (
            band.point(lambda value: 255 if value > 140 else 0)
            if much
            else band.point(lambda value: 255 if value < 128 else 0)
            for band, much in zip(image.split(), (self.red, self.green, self.blue), strict=True)
        )
        red, green, blue = bands
        return ImageChops.multiply(ImageChops.multiply(red, green), blue)


RED = Ink(red=True, green=False, blue=False)
BLUE = Ink(red=False, green=False, blue=True)
BLACK = Ink(red=False, green=False, blue=False)


def extent_mm(image: Image.Image, ink: Ink) -> tuple[float, float, float, float]:
    """Return left, lower, right and upper limit of a colour, in mm from the lower left corner."""
    box = ink.mask(image).getbbox()
    assert box is not None, "the colour is nowhere"
    left, upper, right, lower = box
    return tuple(value * 25.4 / DPI for value in (left, image.height - lower, right, image.height - upper))
