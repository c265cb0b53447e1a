"""A locator is checked, without I/O, when a rule is loaded; what is wrong is said with a cure."""

import pytest

from stopgap.backends import BACKENDS, locate
from stopgap.backends.capability import Entry, Flags, Place, Restartable, Scalable, Services
from stopgap.backends.locator import parse_locator


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_example_is_a_locator_of_its_backend(backend):
    assert type(locate(backend.example, Place)) is backend


@pytest.mark.parametrize(
    ("locator", "capability", "name"),
    [
        ("env:///etc/app.env", Flags, "env:/etc/app.env"),
        ("json:///etc/a.json#features.pms", Flags, "json:/etc/a.json#features.pms"),
        ("fly://hotel", Flags, "fly:hotel"),
        ("fly://hotel#worker", Scalable, "fly:hotel#worker"),
        ("supervisor:///run/s.sock#hotel", Services, "supervisor:/run/s.sock#hotel"),
        ("supervisor://127.0.0.1:9001#group:hotel", Restartable, "supervisor:127.0.0.1:9001#group:hotel"),
        ("systemd://hotel", Services, "systemd:hotel.service"),
        ("systemd://getty@tty1.service", Services, "systemd:getty@tty1.service"),
        ("compose://bookgen/api", Scalable, "compose:bookgen/api"),
        ("k8s://shop/deployment/api", Scalable, "k8s:shop/deployment/api"),
        ("k8s://shop/statefulset/db.x", Place, "k8s:shop/statefulset/db.x"),
        ("k8s://shop/configmap/app.env", Place, "k8s:shop/configmap/app.env"),
        ("docker://bookgen_api.1", Services, "docker:bookgen_api.1"),
        ("ssh+systemd://ops@app:2222/hotel", Services, "ssh+systemd:app:2222/hotel.service"),
    ],
)
def test_a_place_has_one_name(locator, capability, name):
    assert locate(locator, capability).name == name


@pytest.mark.parametrize(
    ("locator", "capability", "said"),
    [
        ("ftp://x", Flags, "no backend for ftp: write one of env:///etc/app.env, json"),
        ("env:///x", Restartable, "env: cannot restart: write one of fly://my-app, supervisor"),
        ("fly://x", Services, "fly: cannot start and stop: write one of supervisor"),
        ("systemd://x", Scalable, "systemd: cannot scale: write one of fly://my-app, compose"),
        ("/etc/app.env", Flags, "is not a locator"),
        ("env:///etc/../shadow", Flags, "steps out"),
        ("env://host/etc/x", Flags, "should not"),
        ("env:///x#KEY", Flags, "should not"),
        ("env:", Flags, "has no absolute path"),
        ("env:///a\nb", Flags, "is not a locator"),
        ("env:///" + "x" * 2000, Flags, "is not a locator"),
        ("fly://u:p@app", Flags, "no credentials"),
        ("fly://--app", Flags, "not the name of a Fly app"),
        ("fly://app#-g", Flags, "not the name of a Fly process group"),
        ("systemd://--force", Services, "not the name of a systemd unit"),
        ("systemd://*.service", Services, "not the name of a systemd unit"),
        ("systemd://a b", Services, "not the name of a systemd unit"),
        ("compose://-p/api", Scalable, "not the name of a Compose project"),
        ("compose://p/--all", Scalable, "not the name of a Compose service"),
        ("compose://p/a/b", Scalable, "not the name of a Compose service"),
        ("supervisor:///s.sock", Services, "has no #part"),
        ("supervisor:///s.sock#group:*", Services, "not the name of a supervisor program"),
    ],
)
def test_what_is_wrong_is_said(locator, capability, said):
    with pytest.raises(ValueError, match=said):
        locate(locator, capability)


def test_a_locator_prints_as_it_is_read():
    for text in ("env:///etc/app.env", "json:///a#b", "compose://p/s"):
        assert str(parse_locator(text)) == text


def test_an_entry_does_not_show_its_value():
    assert "hush" not in f"{Entry('hush', 'hush')!r} {Entry('hush')}"
    assert repr(Entry(None)) == "Entry(absent)"
