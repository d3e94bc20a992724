"""Who we say we are, from a kubeconfig and from a pod's ServiceAccount."""

import pytest
from kubernetes.config import incluster_config

from kserve_has.kube import credentials
from kserve_has.kube.credentials import Credentials


@pytest.fixture
def service_account(tmp_path, monkeypatch):
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("abc")
    authority.write_text("a certificate")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return token


def test_in_a_cluster_the_token_stands_alone_behind_one_bearer(service_account):
    held = Credentials(None)
    assert held.server == "https://10.0.0.1:443"
    assert held.headers() == {"Authorization": "Bearer abc"}


def test_from_a_kubeconfig_likewise(kubeconfig):
    assert Credentials(kubeconfig.path).headers() == {"Authorization": "Bearer secret"}


def test_a_rotated_token_is_read_within_a_minute(kubeconfig, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(credentials.time, "monotonic", lambda: now[0])
    held = Credentials(kubeconfig.path)
    kubeconfig("rotated")
    now[0] = credentials.REREAD_S - 1
    assert held.headers() == {"Authorization": "Bearer secret"}
    now[0] = credentials.REREAD_S + 1
    assert held.headers() == {"Authorization": "Bearer rotated"}
