"""A CA for one job, and a certificate of it for the job's processes. The CA's key is kept nowhere."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_CLOCKS = timedelta(hours=1)
"""By how much the clocks of two nodes may differ."""


def make(job: str, namespace: str, days: int, now: datetime | None = None) -> dict[str, str]:
    """The files of the Secret, base64. Valid for ``days`` from now on; EC keys, which take milliseconds to make."""
    now = now or datetime.now(UTC)
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = _named(f"{job}.{namespace} CA"), _named(f"{job}.{namespace}")
    begun = now - _CLOCKS, now + timedelta(days=days) + _CLOCKS
    ca = (
        _builder(issuer, issuer, authority, begun)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority, hashes.SHA256())
    )
    names = [x509.DNSName(f"{job}-driver.{namespace}.svc")]
    certificate = (
        _builder(subject, issuer, key, begun)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files = {
        "ca.pem": ca.public_bytes(Encoding.PEM),
        "tls.crt": certificate.public_bytes(Encoding.PEM),
        "tls.key": private,
    }
    return {name: base64.b64encode(data).decode() for name, data in files.items()}


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )
