"""Write the revision that a signature goes into: what its role shows, and room for it in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from vnedoc.sign._pyhanko.signature_dictionary import SignatureSettings

if TYPE_CHECKING:
    import datetime

    from vnedoc.sign._pyhanko.embedding import PreparedRevision, Revision
    from vnedoc.sign.roles import Composition, SigningOptions

__all__ = ["write_composition"]


def write_composition(
    revision: Revision,
    output: BinaryIO,
    composition: Composition,
    *,
    options: SigningOptions,
    now: datetime.datetime,
    room: int,
) -> PreparedRevision:
    """Write a document with a new revision, complete but for the signature.

    Args:
        revision: The revision, which holds already what else belongs into it.
        output: Where to; readable, writable and seekable.
        composition: The role laid out on the document.
        options: What the signature dictionary says.
        now: The time that it says.
        room: How many bytes the signature may have.
    """
    return revision.write(
        output,
        field=composition.field,
        settings=SignatureSettings(
            signing_time=now,
            digest_algorithm=options.digest_algorithm,
            max_cms_bytes=room,
            pades=not options.legacy,
            certify=options.certify,
            locked_fields=composition.locked_fields,
            reason=options.reason,
            location=options.location,
        ),
        page=composition.page or 1,
        rectangle=composition.rectangle,
        appearance=composition.appearance,
        label=composition.label,
    )
