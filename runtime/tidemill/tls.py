"""Certificates for the processes of one job: whoever has one may run code in all of them, so each job has its own CA."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill.errors import TidemillError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, Name

VALID = timedelta(days=30)
"""Of certificates made for a run on one machine; nobody renews them."""
_CLOCKS = timedelta(hours=1)
"""By how much the clocks of two machines may differ."""


@dataclass(frozen=True)
class TlsFiles:
    """What one process shows to the others, and whom it believes. PEM files."""

    ca: Path
    cert: Path
    key: Path

    def check(self) -> None:
        """Raise `TidemillError` for a file that is missing, a certificate that does not fit its key or CA, or one that
        is not valid now: the other processes would turn this one away, and only their logs say why."""
        import ssl

        for what, file in (("CA", self.ca), ("certificate", self.cert), ("key", self.key)):
            if not os.access(file, os.R_OK):
                raise TidemillError(f"TLS {what} file {file} cannot be read; check its path and permissions")
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(self.ca)
            context.load_cert_chain(self.cert, self.key)
        except ssl.SSLError as error:
            raise TidemillError(
                f"TLS certificate {self.cert} and key {self.key} cannot be used: {error.reason}; they must be a PEM "
                f"pair, and {self.ca} the PEM certificate of the CA that signed it"
            ) from error
        self._check_chain()

    def _check_chain(self) -> None:
        from cryptography.x509 import load_pem_x509_certificates

        chain = load_pem_x509_certificates(self.cert.read_bytes())
        authorities = load_pem_x509_certificates(self.ca.read_bytes())
        if not any(_signed_by(each, ca) for each in chain for ca in authorities):
            raise TidemillError(
                f"TLS certificate {self.cert} was not signed by the CA in {self.ca}; all processes of a job need "
                "certificates of one CA"
            )
        now, own = datetime.now(UTC), chain[0]
        if not own.not_valid_before_utc <= now <= own.not_valid_after_utc:
            raise TidemillError(
                f"TLS certificate {self.cert} is valid from {own.not_valid_before_utc:%Y-%m-%d %H:%M} to "
                f"{own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M}; renew it, or set the clock"
            )


def _signed_by(certificate: Certificate, authority: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def make_authority(directory: Path, names: tuple[str, ...]) -> dict[str, TlsFiles]:
    """A CA for one run, and a certificate of it for each name; files for their owner only, the CA's key nowhere."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _named("tidemill run")
    root = x509.BasicConstraints(ca=True, path_length=0)
    signed = _begun(subject, subject, key).add_extension(root, critical=True).sign(key, hashes.SHA256())
    _write(directory / "ca.pem", _pem(signed))
    made = {}
    for name in names:
        own = ec.generate_private_key(ec.SECP256R1())
        who = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = _begun(_named(name), subject, own).add_extension(who, critical=False)
        files = TlsFiles(directory / "ca.pem", directory / f"{name}.pem", directory / f"{name}.key")
        _write(files.cert, _pem(builder.sign(key, hashes.SHA256())))
        _write(files.key, _private(own))
        made[name] = files
    return made


def _begun(subject: Name, issuer: Name, key: EllipticCurvePrivateKey) -> CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _CLOCKS).not_valid_after(now + VALID)


def _named(name: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _private(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
