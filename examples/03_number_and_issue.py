"""The clerk gives number and date and signs for the agency, all in one revision; the seal has its true size."""

import datetime

from _desk import open_desk

import vnedoc
from vnedoc.testing import documents

with open_desk() as desk:
    options = vnedoc.SigningOptions(
        role=vnedoc.Role.ISSUE,
        picture=vnedoc.load_picture(documents.document_path(documents.AGENCY_SEAL)),
        seal_diameter_mm=36,
        number="15/QĐ-UBND",
        date=datetime.date(2026, 11, 21),
    )
    result = vnedoc.sign_pdf(desk.approved(), desk.folder / "issued.pdf", signer=desk.clerk, options=options)
    print(f"seal on page {result.page}, {result.box.width / 72 * 25.4:.1f} mm wide")
