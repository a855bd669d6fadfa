"""A throw-away certificate authority and a certificate for loopback, made at every start.

The authority's certificate is written to `ca_file`, which clients trust; its key never leaves this
process. The server's key is written for the moment in which OpenSSL loads it.
EC P-256 keys: making both takes milliseconds. Needs `cryptography` (extra `[simulator]`).
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime.datetime) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    name = _name("sluiceway simulator authority")
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


class Authority:
    """A certificate authority that lives as long as this object; it signs what it is asked for."""

    def __init__(self, folder: Path) -> None:
        """Writes `ca_file` into `folder`, which belongs to the caller. Raises OSError."""
        self._folder = folder
        self._now = datetime.datetime.now(datetime.UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _authority(self._key, self._now)
        self._made = 0
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def server(
        self, *, host: str = "", expired: bool = False, asks_client: bool = False
    ) -> ssl.SSLContext:
        """A server's context, offering h2 and http/1.1 by ALPN.

        `host` stands in the certificate instead of the names of loopback; `expired`: it was valid
        until yesterday; `asks_client`: clients need a certificate of this authority.
        """
        chain_file = self._issue(ExtendedKeyUsageOID.SERVER_AUTH, host, expired)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(chain_file)
        chain_file.unlink()
        context.set_alpn_protocols(["h2", "http/1.1"])
        if asks_client:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self) -> Path:
        """A file with the key and the certificate of a client."""
        return self._issue(ExtendedKeyUsageOID.CLIENT_AUTH, "client", False)

    def _issue(self, usage: x509.ObjectIdentifier, host: str, expired: bool) -> Path:
        general: list[x509.GeneralName] = [x509.DNSName(host)]
        if not host:
            general = [
                x509.DNSName("localhost"),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                x509.IPAddress(ipaddress.ip_address("::1")),
            ]
        key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key()
        before, after = self._now - _DAY, self._now + 30 * _DAY
        if expired:
            before, after = self._now - 30 * _DAY, self._now - _DAY
        certificate = (
            x509.CertificateBuilder(
                self._certificate.subject,
                _name(host or "localhost"),
                key.public_key(),
                x509.random_serial_number(),
            )
            .not_valid_before(before)
            .not_valid_after(after)
            .add_extension(x509.SubjectAlternativeName(general), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        self._made += 1
        chain_file = self._folder / f"chain-{self._made}.pem"
        chain_file.touch(mode=0o600)
        chain_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        return chain_file


def server_context(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server context for loopback, and the file that clients trust.

    Writes into `folder`, which belongs to the caller. Raises OSError if it cannot be written.
    """
    authority = Authority(folder)
    return authority.server(), authority.ca_file
