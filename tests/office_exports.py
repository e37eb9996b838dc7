"""Documents as LibreOffice exports them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

__all__ = ["DECISION_SOURCE", "export_pdf"]

DECISION_SOURCE = Path(__file__).parents[1] / "examples" / "documents" / "quyet-dinh.fodt"


def export_pdf(folder: Path, *, part: int | None = None, accessible: bool = False) -> bytes:
    """Export the sample decision, tagged.

    Args:
        folder: Where LibreOffice works; it keeps its profile there.
        part: The part of PDF/A to follow.
        accessible: Whether to follow PDF/UA, too.
    """
    options: dict[str, dict[str, str]] = {"UseTaggedPDF": {"type": "boolean", "value": "true"}}
    if part is not None:
        options["SelectPdfVersion"] = {"type": "long", "value": str(part)}
    if accessible:
        options["PDFUACompliance"] = {"type": "boolean", "value": "true"}
    output = folder / f"{part}-{accessible}"
    command = [
        "soffice",
        f"-env:UserInstallation={(folder / 'profile').as_uri()}",
        "--headless",
        "--convert-to",
        f"pdf:writer_pdf_Export:{json.dumps(options)}",
        "--outdir",
        str(output),
        str(DECISION_SOURCE),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    return (output / "quyet-dinh.pdf").read_bytes()
