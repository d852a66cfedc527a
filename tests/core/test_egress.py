"""Which addresses a webhook may reach."""

import ipaddress

import pytest
from pydantic import ValidationError

from core.errors import InvalidFields
from core.settings import Settings
from core.webhooks import egress
from core.webhooks.egress import AddressRefused, Egress, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "100.127.255.255", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "192.0.2.1",
        "198.18.0.1", "198.51.100.7", "203.0.113.9", "192.0.0.8", "192.88.99.1",
        "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1", "100::1", "3fff::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1", "2002:7f00:1::", "2002:c0a8:101::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "4000::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_on_the_public_internet_are_refused(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "8.8.8.8",
        "2606:4700:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)
def test_public_addresses_are_allowed(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://127.0.0.1/", "not on the public internet"),
        ("https://2130706433/", "not on the public internet"),
        ("https://0x7f.1/", "not on the public internet"),
        ("https://127.1:8443/", "not on the public internet"),
        ("https://[::1]/", "not on the public internet"),
        ("https://[::ffff:127.0.0.1]/", "not on the public internet"),
        ("https://[fe80::1%25lo]/", ""),
        ("https://localhost/", "not on the public internet"),
        ("https://LOCALHOST./", ""),
        ("http://169.254.169.254/latest/meta-data", "not on the public internet"),
        ("ftp://example.com/", "only https and http"),
        ("file:///etc/passwd", "only https and http"),
        ("javascript:alert(1)", "only https and http"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "only https and http"),
        ("https://", "names no host"),
        ("https:///path", "names no host"),
        ("https://user:secret@example.com/", "no user name or password"),
        ("https://example.com@127.0.0.1/", "no user name or password"),
        ("https://example.com\\@127.0.0.1/", "no user name or password"),
        ("https://example.com:99999/", "no URL"),
        ("https://example.com:0/", "names no host"),
        ("https://example.com/a b", "no URL"),
        ("https://example.com/\r\nX-Injected: yes", "no URL"),
        ("https://example.com/#part", "fragment"),
        ("https://exämple.com/", "Punycode"),
        ("https://no-such-host.invalid/", "cannot be resolved"),
        ("https://example.com/" + "a" * 2000, "no URL"),
    ],
)
def test_urls_that_nothing_may_be_sent_to_are_refused_at_the_field(url, said):
    with pytest.raises(InvalidFields) as refused:
        Egress.from_settings(Settings()).check_url(url)
    (problem,) = refused.value.problems
    assert problem.field == "url"
    assert said in problem.message
    assert problem.allowed
    assert "secret" not in str(problem)


def test_every_address_of_a_name_must_be_allowed(monkeypatch):
    strict = Egress.from_settings(Settings())
    monkeypatch.setattr(egress, "look_up", lambda host, port: ["8.8.8.8", "2606:4700::1"])
    assert strict.resolve("example.com", 443) == ["8.8.8.8", "2606:4700::1"]
    monkeypatch.setattr(egress, "look_up", lambda host, port: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(AddressRefused) as refused:
        strict.resolve("example.com", 443)
    assert "10.0.0.1" not in str(refused.value), "strangers learn nothing of the network"


def test_a_deployment_allows_networks_addresses_and_names_of_its_own(monkeypatch):
    chosen = Egress.from_settings(Settings(webhook_allow="10.1.0.0/16, ::1 ,Chat.Lab"))
    addresses = {
        "near": "10.1.2.3",
        "far": "10.2.0.1",
        "six": "::1",
        "chat.lab": "192.168.0.9",
        "lab": "192.168.0.9",
    }
    monkeypatch.setattr(egress, "look_up", lambda host, port: [addresses[host.lower()]])
    for host in ("near", "six", "CHAT.lab"):
        assert chosen.resolve(host, 443)
    for host in ("far", "lab"):
        with pytest.raises(AddressRefused):
            chosen.resolve(host, 443)
    with pytest.raises(ValidationError, match="webhook_allow"):
        Settings(webhook_allow="10.1.2.3/99")


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({}, True),
        ({"webhook_http": "refuse"}, False),
        ({"profile": "production"}, False),
        ({"profile": "production", "webhook_http": "allow"}, True),
    ],
)
def test_production_sends_over_tls_only_unless_it_is_told_otherwise(monkeypatch, settings, allowed):
    monkeypatch.setattr(egress, "look_up", lambda host, port: ["8.8.8.8"])
    chosen = Egress.from_settings(Settings(**settings))
    assert chosen.check_url("https://example.com/") == "https://example.com/"
    if allowed:
        chosen.check_url("http://example.com/")
    else:
        with pytest.raises(InvalidFields, match="TLS"):
            chosen.check_url("http://example.com/")
