"""A verification report in the XML of ETSI TS 119 102-2, V1.2.1.

pyHanko's generator takes pyHanko's own verdict only, so the document is written here, from ours; its generated
classes read it back in the tests. Each signature and document time-stamp has a report. A signature that is sound in a
file that does not pass is INDETERMINATE here, with the file's findings: who reads only one element must not see
"passed". The digest of what was signed is left out; the signature value names the signature.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from lxml import etree

from vnedoc import messages
from vnedoc.sign.report import Conclusion, FileReport, SignatureReport, VerificationReport
from vnedoc.sign.reports.text import printable

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable

    from vnedoc.sign.report import Basis, Finding

__all__ = ["render_etsi"]

VR = "http://uri.etsi.org/19102/v1.2.1#"
DS = "http://www.w3.org/2000/09/xmldsig#"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_XS = "http://www.w3.org/2001/XMLSchema"
_MAIN = {
    Conclusion.TOTAL_PASSED: "urn:etsi:019102:mainindication:total-passed",
    Conclusion.TOTAL_FAILED: "urn:etsi:019102:mainindication:total-failed",
}
_INDETERMINATE = "urn:etsi:019102:mainindication:indeterminate"
_SUB = "urn:etsi:019102:subindication:"
_PROCESS = "urn:etsi:019102:validationprocess:"
_OWN = "urn:vnedoc:"


def render_etsi(
    report: VerificationReport, *, language: messages.Language | str = messages.Language.EN
) -> str:
    """Return a report as XML; findings are told in a language."""
    root = etree.Element(f"{{{VR}}}ValidationReport", nsmap={"vr": VR, "ds": DS, "xsi": _XSI, "xs": _XS})
    certificates: dict[str, bytes] = {}
    for file in report.files:
        for signature in file.signatures:
            _signature(root, file, signature, report.basis, language, certificates)
        if not file.signatures:
            _without_signature(root, file, report.basis, language)
    if certificates:
        objects = _add(root, "SignatureValidationObjects")
        for name, encoded in certificates.items():
            item = _add(objects, "ValidationObject", id=name)
            _add(item, "ObjectType", "urn:etsi:019102:validationObject:certificate")
            _add(_add(item, "ValidationObjectRepresentation"), "base64", _base64(encoded))
    text = etree.tostring(root, encoding="unicode", pretty_print=True)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + text


def _signature(
    root: etree._Element,
    file: FileReport,
    signature: SignatureReport,
    basis: Basis | None,
    language: messages.Language | str,
    certificates: dict[str, bytes],
) -> None:
    own = _add(root, "SignatureValidationReport")
    _identifier(own, f"{file.path}#{signature.field}", signature)
    _times(own, basis, signature.best_signature_time)
    attributes = _add(own, "SignatureAttributes")
    if signature.signing_time is not None and signature.time_source == "claimed":
        _add(_add(attributes, "SigningTime", Signed="true"), "Time", signature.signing_time.isoformat())
    if signature.time_source == "timestamp" and signature.signing_time is not None:
        stamp = _add(attributes, "SignatureTimeStamp", Signed="false")
        _add(stamp, "TimeStampValue", signature.signing_time.isoformat())
    if signature.subfilter is not None:
        _add(_add(attributes, "SubFilter"), "SubFilterElement", signature.subfilter)
    if signature.trace is not None:
        name = "certificate-" + hashlib.sha256(signature.trace.certificate).hexdigest()
        certificates[name] = signature.trace.certificate
        signer = _add(own, "SignerInformation")
        _add(signer, "SignerCertificate", VOReference=name)
        if signature.signer is not None:
            _add(signer, "Signer", signature.signer.common_name)
    _process(own, signature.level, basis)
    passed_alone = signature.conclusion is Conclusion.TOTAL_PASSED
    sub = None if signature.sub_indication is None else _SUB + signature.sub_indication
    main = _MAIN.get(signature.conclusion, _INDETERMINATE)
    if passed_alone and file.conclusion is not Conclusion.TOTAL_PASSED:
        main, sub = _INDETERMINATE, f"{_SUB}SIG_CONSTRAINTS_FAILURE"
    findings = (*signature.errors, *signature.warnings, *file.errors, *file.warnings)
    _status(own, main, sub, findings, language)


def _without_signature(
    root: etree._Element, file: FileReport, basis: Basis | None, language: messages.Language | str
) -> None:
    """Say of a file that there is nothing in it that could have passed."""
    own = _add(root, "SignatureValidationReport")
    _identifier(own, file.path, None)
    _times(own, basis, None)
    _process(own, "", basis)
    main = _MAIN.get(file.conclusion, _INDETERMINATE)
    findings = (*file.errors, *file.warnings)
    _status(own, main, f"{_OWN}conclusion:{file.conclusion.value}", findings, language)


def _identifier(parent: etree._Element, name: str, signature: SignatureReport | None) -> None:
    identifier = _add(parent, "SignatureIdentifier")
    trace = None if signature is None else signature.trace
    if trace is not None:
        etree.SubElement(identifier, f"{{{DS}}}SignatureValue").text = _base64(trace.signature_value)
    _add(identifier, "HashOnly", "false")
    _add(identifier, "DocHashOnly", "false")
    _add(identifier, "DAIdentifier", name)


def _times(parent: etree._Element, basis: Basis | None, proven: datetime.datetime | None) -> None:
    if basis is None:
        return
    info = _add(parent, "ValidationTimeInfo")
    _add(info, "ValidationTime", basis.at.isoformat())
    best = _add(info, "BestSignatureTime")
    # EN 319 102-1, 5.5.4: without a proof of an earlier time it is the time of the validation.
    _add(best, "POETime", (proven or basis.at).isoformat())
    _add(best, "TypeOfProof", "urn:etsi:019102:poetype:validation")


def _process(parent: etree._Element, level: str, basis: Basis | None) -> None:
    process = _add(parent, "SignatureValidationProcess")
    name = "LTA" if level.endswith("LTA") else "LTVM" if level.endswith(("-T", "-LT")) else "Basic"
    _add(process, "SignatureValidationProcessID", _PROCESS + name)
    if basis is not None:
        _add(process, "SignatureValidationServicePolicy", f"{_OWN}policy:{basis.policy}")


def _status(
    parent: etree._Element,
    main: str,
    sub: str | None,
    findings: Iterable[Finding],
    language: messages.Language | str,
) -> None:
    status = _add(parent, "SignatureValidationStatus")
    _add(status, "MainIndication", main)
    if sub is not None:
        _add(status, "SubIndication", sub)
    told = list(findings)
    if not told:
        return
    data = _add(_add(status, "AssociatedValidationReportData"), "AdditionalValidationReportData")
    for finding in told:
        item = _add(data, "ReportData")
        _add(item, "Type", f"{_OWN}finding:{finding.id}")
        value = _add(item, "Value", finding.text(language))
        value.set(f"{{{_XSI}}}type", "xs:string")


def _add(parent: etree._Element, name: str, text: str | None = None, **attributes: str) -> etree._Element:
    element = etree.SubElement(parent, f"{{{VR}}}{name}", attributes)
    if text is not None:
        element.text = printable(text, limit=None)
    return element


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
