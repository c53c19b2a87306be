"""X.509 certificates for the tests' TLS servers.

They carry what RFC 5280 requires (key identifiers, key usage, basic constraints): Python 3.13 and newer verify with
`ssl.VERIFY_X509_STRICT` by default and refuse a certificate without them. Add a kind of certificate here when a test
needs another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Authority:
    """A self-signed certificate authority."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls) -> "Authority":
        """Return a new authority, valid for a day."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _common_name("authority")
        builder = _builder(name, key, timedelta(days=1), usages={"key_cert_sign", "crl_sign"}).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        return cls(_signed(builder, name, key), key)

    def write(self, path: Path) -> Path:
        """Write the authority's certificate for clients that are to trust it."""
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path


def write_server_certificate(
    path: Path,
    names: Sequence[x509.GeneralName],
    authority: Authority | None = None,
    left: timedelta = timedelta(days=1),
) -> Path:
    """Write a server's certificate and key to one file, self-signed without an `authority`; `left` until it expires."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _common_name("host")
    builder = (
        _builder(subject, key, left, usages={"digital_signature"})
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    signed = (
        _signed(builder, authority.certificate.subject, authority.key) if authority else _signed(builder, subject, key)
    )
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, left: timedelta, *, usages: set[str]
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + left)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.KeyUsage(**{name: name in usages for name in _USAGES}), critical=True)
    )


def _signed(builder: x509.CertificateBuilder, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return builder.issuer_name(issuer).add_extension(identifier, critical=False).sign(key, hashes.SHA256())
