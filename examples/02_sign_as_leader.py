"""The person with authority signs: a blue picture between title and name, PAdES-B-T."""

from _desk import open_desk

import vnedoc
from vnedoc.testing import documents

with open_desk() as desk:
    options = vnedoc.SigningOptions(
        role=vnedoc.Role.APPROVE,
        level=vnedoc.SignatureLevel.B_T,
        timestamps=desk.timestamps,
        placement=vnedoc.Placement(anchor="Nguyễn Văn Test"),
        picture=vnedoc.load_picture(documents.document_path(documents.LEADER_SIGNATURE)),
        reserve_numbering=True,
    )
    draft = documents.document_path(documents.DECISION)
    result = vnedoc.sign_pdf(draft, desk.folder / "approved.pdf", signer=desk.leader, options=options)
    print(f"{result.level.value}, field {result.field}, page {result.page}, box {result.box.as_text()}")
