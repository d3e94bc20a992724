"""The webhook's own certificate authority and the certificate it serves. Pure: time is given."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kserve_has.config.webhook import WebhookSettings

# Clocks of the API server's machine and ours may differ a little.
_SKEW: Final = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """All PEM: what lies in the Secret.

    Attributes:
        authorities: certificates the API server is to trust, newest first; the first signs.
        authority_key: key of the first authority.
        leaf: certificate that is served.
        leaf_key: its key.

    """

    authorities: bytes
    authority_key: bytes
    leaf: bytes
    leaf_key: bytes


def renewed(
    held: Certificates | None,
    hosts: Sequence[str],
    settings: WebhookSettings,
    now: datetime.datetime,
) -> Certificates:
    """Return ``held`` while it is good for all ``hosts``, else with what had to be renewed.

    A leaf is renewed when two thirds of its life are over, a host is missing or its authority did
    not sign it; the authority when it would end before two leaves; unreadable PEM like nothing.
    An old authority stays trusted until it ends, so that replicas may change one after another.
    """
    try:
        usable = held and _authority_lasts(held, settings, now)
        if not held or not usable:
            return _issue(_new_authority(held, settings, now), hosts, settings, now)
        return held if _leaf_good(held, hosts, now) else _issue(held, hosts, settings, now)
    except (ValueError, TypeError, IndexError):
        return _issue(_new_authority(None, settings, now), hosts, settings, now)


def leaf_expiry(held: Certificates) -> datetime.datetime:
    """Return until when the served certificate is valid."""
    return x509.load_pem_x509_certificate(held.leaf).not_valid_after_utc


def _authority_lasts(held: Certificates, settings: WebhookSettings, now: datetime.datetime) -> bool:
    newest = x509.load_pem_x509_certificates(held.authorities)[0]
    key = _load_key(held.authority_key)
    if key.public_key() != newest.public_key():
        return False
    return newest.not_valid_after_utc > now + 2 * datetime.timedelta(days=settings.leaf_days)


def _leaf_good(held: Certificates, hosts: Sequence[str], now: datetime.datetime) -> bool:
    leaf = x509.load_pem_x509_certificate(held.leaf)
    if _load_key(held.leaf_key).public_key() != leaf.public_key():
        return False
    try:
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificates(held.authorities)[0])
    except InvalidSignature:
        return False
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if any(_general_name(host) not in names for host in hosts):
        return False
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    return now < begin + (end - begin) * 2 / 3


def _new_authority(
    held: Certificates | None, settings: WebhookSettings, now: datetime.datetime
) -> Certificates:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kserve-has-webhook-ca")])
    certificate = (
        _builder(name, name, key, settings.authority_days, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    old = x509.load_pem_x509_certificates(held.authorities) if held else []
    trusted = [certificate, *(c for c in old if c.not_valid_after_utc > now)]
    pem = b"".join(c.public_bytes(serialization.Encoding.PEM) for c in trusted)
    return Certificates(pem, _pem(key), b"", b"")


def _issue(
    authority: Certificates, hosts: Sequence[str], settings: WebhookSettings, now: datetime.datetime
) -> Certificates:
    issuer = x509.load_pem_x509_certificates(authority.authorities)[0]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kserve-has-webhook")])
    alternative = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    certificate = (
        _builder(name, issuer.subject, key, settings.leaf_days, now)
        .add_extension(alternative, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(_load_key(authority.authority_key), hashes.SHA256())
    )
    leaf = certificate.public_bytes(serialization.Encoding.PEM)
    return replace(authority, leaf=leaf, leaf_key=_pem(key))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    now: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("expected an elliptic-curve key")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
