"""Certificates are signed by the stack's authority and keys are private."""

import datetime
import ipaddress
import stat

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kserve_has.localstack.certs import Authority, write_signing_keys
from kserve_has.localstack.kubeconfig import write_client, write_token

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, NOW)


def loaded(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_server_certificate_names_its_hosts_and_is_signed(authority):
    pair = authority.issue_server("web", ("127.0.0.1", "web.kserve.svc"))
    certificate = loaded(pair.certificate)
    certificate.verify_directly_issued_by(loaded(authority.pair.certificate))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [ipaddress.ip_address("127.0.0.1")] == names.get_values_for_type(x509.IPAddress)
    assert ["web.kserve.svc"] == names.get_values_for_type(x509.DNSName)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [ExtendedKeyUsageOID.SERVER_AUTH] == list(usage)


def test_a_client_certificate_carries_user_and_group(authority):
    pair = authority.issue_client("node", "system:node:a", "system:nodes")
    subject = loaded(pair.certificate).subject
    assert "system:node:a" == subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    group = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value
    assert "system:nodes" == group


def test_certificates_are_valid_a_little_before_now(authority):
    certificate = loaded(authority.pair.certificate)
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc


def test_private_files_are_readable_by_their_owner_only(authority, tmp_path):
    keys = [
        authority.pair.key,
        authority.issue_client("a", "a").key,
        write_signing_keys(tmp_path).key,
        write_token(tmp_path / "k.yaml", "https://api", authority.pair.certificate, "secret"),
    ]
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in keys}


def test_a_kubeconfig_says_who_and_where(authority, tmp_path):
    identity = authority.issue_client("a", "a")
    ca = authority.pair.certificate
    client = yaml.safe_load(write_client(tmp_path / "c", "https://api", ca, identity).read_text())
    token = yaml.safe_load(write_token(tmp_path / "t", "https://api", ca, "secret").read_text())
    assert {"server": "https://api", "certificate-authority": str(ca)} == client["clusters"][0][
        "cluster"
    ]
    assert str(identity.key) == client["users"][0]["user"]["client-key"]
    assert {"token": "secret"} == token["users"][0]["user"]
