import datetime
from dataclasses import replace

import pytest
from cryptography import x509

from kserve_has.config.webhook import WebhookSettings
from webhook.certificates import Certificates, leaf_expiry, renewed

SETTINGS = WebhookSettings(leaf_days=90, authority_days=3650)
START = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
HOSTS = ("kserve-has-webhook.kserve-has.svc", "127.0.0.1")


def days(count):
    return datetime.timedelta(days=count)


@pytest.fixture(scope="module")
def fresh():
    return renewed(None, HOSTS, SETTINGS, START)


def authorities(held):
    return x509.load_pem_x509_certificates(held.authorities)


def leaf(held):
    return x509.load_pem_x509_certificate(held.leaf)


def test_a_fresh_leaf_is_signed_by_the_authority_for_all_hosts(fresh):
    (authority,) = authorities(fresh)
    leaf(fresh).verify_directly_issued_by(authority)
    names = leaf(fresh).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ["kserve-has-webhook.kserve-has.svc"] == names.get_values_for_type(x509.DNSName)
    assert ["127.0.0.1"] == [str(ip) for ip in names.get_values_for_type(x509.IPAddress)]
    assert START + days(90) == leaf_expiry(fresh)


def test_only_the_authority_may_sign(fresh):
    (authority,) = authorities(fresh)
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (True, 0) == (constraints.value.ca, constraints.value.path_length)
    with pytest.raises(x509.ExtensionNotFound):
        leaf(fresh).extensions.get_extension_for_class(x509.BasicConstraints)


def test_what_is_good_is_kept(fresh):
    assert fresh is renewed(fresh, HOSTS, SETTINGS, START + days(59))


def test_a_leaf_is_renewed_after_two_thirds_of_its_life_under_the_same_authority(fresh):
    later = renewed(fresh, HOSTS, SETTINGS, START + days(61))
    assert fresh.authorities == later.authorities
    assert fresh.authority_key == later.authority_key
    assert START + days(61 + 90) == leaf_expiry(later)
    leaf(later).verify_directly_issued_by(authorities(later)[0])


def test_a_missing_host_renews_the_leaf_and_a_dropped_one_does_not(fresh):
    wider = renewed(fresh, (*HOSTS, "10.0.0.1"), SETTINGS, START)
    assert fresh.leaf != wider.leaf
    assert wider is renewed(wider, HOSTS, SETTINGS, START)


def test_an_authority_near_its_end_is_followed_by_a_new_one_while_it_stays_trusted(fresh):
    now = START + days(3650 - 179)
    later = renewed(fresh, HOSTS, SETTINGS, now)
    new, old = authorities(later)
    assert authorities(fresh) == [old]
    leaf(later).verify_directly_issued_by(new)
    assert later is renewed(later, HOSTS, SETTINGS, now)


def test_an_authority_that_has_ended_is_trusted_no_more(fresh):
    later = renewed(fresh, HOSTS, SETTINGS, START + days(3651))
    assert 1 == len(authorities(later))
    assert authorities(fresh) != authorities(later)


@pytest.mark.parametrize("field", ["leaf_key", "authority_key"])
def test_a_key_of_another_certificate_is_not_used(fresh, field):
    other = renewed(None, HOSTS, SETTINGS, START)
    mixed = replace(fresh, **{field: getattr(other, field)})
    repaired = renewed(mixed, HOSTS, SETTINGS, START)
    assert repaired != mixed
    leaf(repaired).verify_directly_issued_by(authorities(repaired)[0])


def test_a_leaf_of_another_authority_is_replaced(fresh):
    other = renewed(None, HOSTS, SETTINGS, START)
    mixed = replace(fresh, leaf=other.leaf, leaf_key=other.leaf_key)
    repaired = renewed(mixed, HOSTS, SETTINGS, START)
    assert fresh.authorities == repaired.authorities
    leaf(repaired).verify_directly_issued_by(authorities(repaired)[0])


@pytest.mark.parametrize("field", ["authorities", "authority_key", "leaf", "leaf_key"])
@pytest.mark.parametrize("damage", [b"", b"nonsense"], ids=["empty", "nonsense"])
def test_damaged_pem_is_replaced(fresh, field, damage):
    repaired = renewed(replace(fresh, **{field: damage}), HOSTS, SETTINGS, START)
    assert isinstance(repaired, Certificates)
    leaf(repaired).verify_directly_issued_by(authorities(repaired)[0])
