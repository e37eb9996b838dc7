"""An appendix in its own file is signed by the agency with text only, top right on page 1."""

from _desk import open_desk

import vnedoc
from vnedoc.testing import documents

with open_desk() as desk:
    options = vnedoc.SigningOptions(role=vnedoc.Role.APPENDIX, number="15/QĐ-UBND")
    for name in (documents.APPENDIX, documents.LANDSCAPE):
        source = documents.document_path(name)
        result = vnedoc.sign_pdf(source, desk.folder / name, signer=desk.clerk, options=options)
        print(f"{name}: page {result.page}, box {result.box.as_text()}")
