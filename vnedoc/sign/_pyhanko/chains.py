"""One certificate judged by itself, as a signing certificate outside of CMS: path and key usage at a time.

The same validator, settings and words as for signatures in PDFs (EN 319 102-1, 5.2.6). Nothing is fetched.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from pyhanko.sign.ades.report import AdESIndeterminate
from pyhanko.sign.validation import generic_cms
from pyhanko.sign.validation.settings import KeyUsageConstraints
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.policy_decl import NO_REVOCATION, CertRevTrustPolicy

from vnedoc.sign._pyhanko.reading import FOREIGN_ERRORS
from vnedoc.sign._pyhanko.revocation import algorithm_policy, run_to_end
from vnedoc.sign._pyhanko.validation import Outcome, _asn1, _explain, _indeterminate, _material
from vnedoc.sign.report import Conclusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from vnedoc.sign.policy import Policy
    from vnedoc.sign.trust import TrustStore

__all__ = ["judge_path"]


def judge_path(
    certificate: x509.Certificate,
    others: Sequence[x509.Certificate],
    *,
    trust: TrustStore,
    policy: Policy,
    at: datetime.datetime,
) -> Outcome:
    """Judge whether a certificate leads to an anchor and may sign documents at a time; revocation aside.

    Args:
        certificate: The signing certificate.
        others: Certificates that came with the signature and may stand in the chain.
        trust: What is trusted.
        policy: What is demanded.
        at: The time.
    """
    material = _material(trust)
    context = ValidationContext(
        trust_roots=list(material.roots),
        other_certs=[*material.intermediates, *(_asn1(other) for other in others)],
        moment=at,
        allow_fetching=False,
        revinfo_policy=CertRevTrustPolicy(NO_REVOCATION),
        algorithm_usage_policy=algorithm_policy(policy),
        time_tolerance=datetime.timedelta(seconds=1),
    )
    leaf = _asn1(certificate)
    try:
        result = run_to_end(
            generic_cms.validate_cert_usage(
                leaf,
                context,
                key_usage_settings=KeyUsageConstraints(key_usage=policy.key_usage or None),
                paths=context.path_builder.async_build_paths_lazy(leaf),
            )
        )
    except FOREIGN_ERRORS:
        name = AdESIndeterminate.CERTIFICATE_CHAIN_GENERAL_FAILURE.standard_name
        return _indeterminate(name, _explain(name, certificate), intact=True)
    path = result.success_result
    if result.error_subindic is None and path is not None:
        authority = getattr(path.trust_anchor.authority, "certificate", None)
        return Outcome(
            intact=True,
            conclusion=Conclusion.TOTAL_PASSED,
            sub_indication=None,
            findings=(),
            path=path,
            anchor=None if authority is None else material.anchors.get(authority.dump()),
        )
    name = result.error_subindic.standard_name if result.error_subindic is not None else "GENERIC"
    return _indeterminate(name, _explain(name, certificate), intact=True)
