"""What a person sees on a signed document: place, colour and size of signature and seal, measured on the render."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from tests.drawing import BLUE, MM, RED, extent_mm, render_pdfium, render_poppler
from vnedoc.sign.signing import sign_pdf
from vnedoc.testing import documents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL.Image import Image

    from vnedoc.sign.roles import SigningOptions
    from vnedoc.sign.signers.pkcs12 import PKCS12Signer

TOLERANCE_MM = 0.5
# The rotated and the cropped document are the letter on other sheets: what is shown must be the same.
PAGES = {documents.DECISION: 2, documents.LETTER: 1, documents.ROTATED: 1, documents.CROPPED: 1}


@pytest.fixture(params=["pdfium", pytest.param("poppler", marks=pytest.mark.needs("pdftoppm"))])
def render(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Image]:
    program = {"pdfium": render_pdfium, "poppler": render_poppler}[request.param]

    def lower_half(content: bytes, page: int) -> Image:
        image = program(content, tmp_path, page=page)
        # Number and date stand above; PDFium smooths the text of fields with colours.
        image.paste("white", (0, 0, image.width, image.height // 2))
        return image

    return lower_half


@pytest.mark.parametrize("name", PAGES)
def test_signature_and_seal(
    name: str,
    render: Callable[..., Image],
    leader: PKCS12Signer,
    clerk: PKCS12Signer,
    approve_options: SigningOptions,
    issue_options: SigningOptions,
) -> None:
    source = documents.document_bytes(name)
    approved = sign_pdf(source, signer=leader, options=approve_options)
    options = dataclasses.replace(issue_options, number="7")
    issued = sign_pdf(approved.content or b"", signer=clerk, options=options)
    assert approved.box is not None

    left, lower, right, upper = extent_mm(render(approved.content, PAGES[name]), BLUE)
    box = approved.box
    # The ink lies within the picture's box, and the picture is not shrunk within it.
    assert box.x / MM - TOLERANCE_MM <= left < right <= box.right / MM + TOLERANCE_MM
    assert box.y / MM - TOLERANCE_MM <= lower < upper <= box.top / MM + TOLERANCE_MM
    assert right - left > 0.8 * box.width / MM

    seal_left, seal_lower, seal_right, seal_upper = extent_mm(render(issued.content, PAGES[name]), RED)
    # Decree 30/2020/NĐ-CP, Annex I, part I, II.8a: true size, over a third of the signature, on its left.
    assert seal_right - seal_left == pytest.approx(documents.SEAL_DIAMETER_MM, abs=TOLERANCE_MM)
    assert seal_upper - seal_lower == pytest.approx(documents.SEAL_DIAMETER_MM, abs=TOLERANCE_MM)
    assert seal_right == pytest.approx((box.x + box.width / 3) / MM, abs=TOLERANCE_MM)
    assert (seal_upper + seal_lower) / 2 == pytest.approx((box.y + box.height / 2) / MM, abs=TOLERANCE_MM)
