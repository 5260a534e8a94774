"""The engine's own certificate authority: a root, and certificates for the addresses of its workers. Pure."""

from __future__ import annotations

import datetime
import ipaddress
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pyworker.errors import BadRequest

__all__ = ["Authority"]

_ROOT_LIFE: Final = datetime.timedelta(days=3650)
_WORKER_LIFE: Final = datetime.timedelta(days=365)
_CLOCK_SKEW: Final = datetime.timedelta(hours=1)


class Authority:
    """Signs with ``key``; ``now`` is an aware datetime.

    Without ``root_pem``, the root that was made before, a new one is made: clients that trusted that one trust it no
    more. Raises ValueError when ``root_pem`` is no certificate, or another key's.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey, now: datetime.datetime, root_pem: bytes | None = None) -> None:
        self._key = key
        self._root = _root(key, now) if root_pem is None else x509.load_pem_x509_certificate(root_pem)
        if self._root.public_key() != key.public_key():
            raise ValueError("the root certificate is not of this key")

    @property
    def root_pem(self) -> bytes:
        """The root certificate."""
        return self._root.public_bytes(serialization.Encoding.PEM)

    def sign(self, csr_pem: bytes, host: str, now: datetime.datetime) -> bytes:
        """A PEM certificate for ``host``. Nothing is taken from the request but its public key.

        Raises BadRequest when the request cannot be read or its key is weak.
        """
        certificate = (
            _builder(_public_key(csr_pem), host, now, _WORKER_LIFE)
            .issuer_name(self._root.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _root(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    builder = _builder(key.public_key(), "pyworker engine", now, _ROOT_LIFE)
    return (
        builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pyworker engine")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_ca_key_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _builder(
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, name: str, now: datetime.datetime, life: datetime.timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + life)
    )


def _ca_key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _public_key(csr_pem: bytes) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    try:
        csr = x509.load_pem_x509_csr(csr_pem)
        key = csr.public_key()
        if isinstance(key, rsa.RSAPublicKey) and not 2048 <= key.key_size <= 8192:
            raise BadRequest("the RSA key of a certificate signing request has 2048 to 8192 bits")
        if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise BadRequest("the key of a certificate signing request is RSA or elliptic curve")
        if not csr.is_signature_valid:
            raise BadRequest("the certificate signing request is not signed by its own key")
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadRequest(f"the body is not a PEM certificate signing request: {error}") from None
    return key


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
