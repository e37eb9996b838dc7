"""Writes identities to SoftHSM2 tokens, in a process of its own: ``python -m vnedoc.testing._token_writer MODULE``.

SoftHSM reads where its tokens are when it is initialised, and a process may have it initialised for another folder.
What to write comes as JSON on standard input.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from vnedoc.sign.signers._pkcs11_library import cryptoki

__all__ = ["write_objects"]

_Attribute, _Class = cryptoki.Attribute, cryptoki.ObjectClass


def write_objects(module: str, task: dict[str, Any]) -> None:  # JSON
    """Write certificates and keys to the token that the task names."""
    (token,) = (
        token
        for token in cryptoki.lib(module).get_tokens()
        if token.serial.decode("ascii").strip() == task["serial"]
    )
    with token.open(rw=True, user_pin=task["pin"]) as session:
        for entry in task["objects"]:
            for template in _templates(entry):
                session.create_object({_Attribute.TOKEN: True, **template})


def _templates(
    entry: dict[str, Any],
) -> list[dict[Any, Any]]:  # JSON; attributes of a library without such types
    names = {_Attribute.LABEL: entry["label"], _Attribute.ID: bytes.fromhex(entry["id"])}
    content = base64.b64decode(entry["content"])
    if entry["kind"] == "certificate":
        certificate = x509.load_der_x509_certificate(content)
        return [
            {
                **names,
                _Attribute.CLASS: _Class.CERTIFICATE,
                _Attribute.CERTIFICATE_TYPE: cryptoki.CertificateType.X_509,
                _Attribute.PRIVATE: entry["hidden"],
                _Attribute.SUBJECT: certificate.subject.public_bytes(),
                _Attribute.VALUE: content,
            }
        ]
    key = serialization.load_der_private_key(content, password=None)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    private, public = _key_templates(key)
    private |= {
        **names,
        _Attribute.PRIVATE: True,
        _Attribute.SENSITIVE: True,
        _Attribute.EXTRACTABLE: False,
        _Attribute.SIGN: entry["may_sign"],
        _Attribute.ALWAYS_AUTHENTICATE: entry["pin_each_time"],
    }
    public |= {**names, _Attribute.VERIFY: True}
    return [private, public] if entry["with_public_key"] else [private]


def _key_templates(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
) -> tuple[dict[Any, Any], dict[Any, Any]]:  # attributes of a library without such types
    public_der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if isinstance(key, ec.EllipticCurvePrivateKey):
        private_der = key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        return cryptoki.ec.decode_ec_private_key(private_der), cryptoki.ec.decode_ec_public_key(public_der)
    numbers = key.private_numbers()
    public = {
        _Attribute.KEY_TYPE: cryptoki.KeyType.RSA,
        _Attribute.MODULUS: _big(numbers.public_numbers.n),
        _Attribute.PUBLIC_EXPONENT: _big(numbers.public_numbers.e),
    }
    private = {
        **public,
        _Attribute.CLASS: _Class.PRIVATE_KEY,
        _Attribute.PRIVATE_EXPONENT: _big(numbers.d),
        _Attribute.PRIME_1: _big(numbers.p),
        _Attribute.PRIME_2: _big(numbers.q),
        _Attribute.EXPONENT_1: _big(numbers.dmp1),
        _Attribute.EXPONENT_2: _big(numbers.dmq1),
        _Attribute.COEFFICIENT: _big(numbers.iqmp),
    }
    return private, {**public, _Attribute.CLASS: _Class.PUBLIC_KEY}


def _big(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


if __name__ == "__main__":
    write_objects(sys.argv[1], json.load(sys.stdin))
