"""A verification report as JSON, schema ``vnedoc.verification/1``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vnedoc import messages

if TYPE_CHECKING:
    from vnedoc.sign.report import VerificationReport

__all__ = ["render_json"]


def render_json(
    report: VerificationReport, *, language: messages.Language | str = messages.Language.EN
) -> str:
    """Return a report as JSON; ids and names are stable, texts are in the language."""
    return json.dumps(report.to_dict(language), ensure_ascii=False, indent=2) + "\n"
