"""Surroundings: what rules need and must not hold: addresses of contacts, values of secrets; from the environment or its files."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import SecretStr

from stopgap.config.codes import Odd, Wrong
from stopgap.config.findings import Findings
from stopgap.config.node import Node
from stopgap.contacts import Contact, address_flaw

LARGEST_SECRET = 64 * 1024  # bytes
_MUST = "secrets"
SECRETS = (_MUST, "optional_secrets")
"""Keys of a pack that name secrets."""

_NOT_SET = "is not set"


def secrets_of(
    keys: Mapping[str, Node], environ: Mapping[str, str], findings: Findings
) -> dict[str, SecretStr]:
    """Return the values of a pack's secrets.

    One that is missing is an error, because a rule would fail when it is needed; unless it is optional: then its rung is skipped.
    """
    found: dict[str, SecretStr] = {}
    for key, node in _named(keys):
        variable = f"STOPGAP_SECRET_{node.text.upper()}"
        value, why = _look_up(variable, environ)
        if value is not None:
            found[node.text] = value
        elif key == _MUST or why != _NOT_SET:
            findings.error(
                node.mark,
                f"the secret `{node.text}` {why}",
                f"set {variable}, or {variable}_FILE to the name of a file",
                code=Wrong.UNSET_SECRET,
            )
    return found


def _named(keys: Mapping[str, Node]) -> Iterator[tuple[str, Node]]:
    return ((key, each) for key in SECRETS if key in keys for each in keys[key].items or ())


def contacts_of(contacts: Node | None, environ: Mapping[str, str], findings: Findings) -> dict[str, Contact]:
    """Return the contacts of a pack or of the site; one without an address is there, and a warning."""
    found: dict[str, Contact] = {}
    unset: dict[str, Node] = {}
    for name, node in ((contacts.table or {}) if contacts is not None else {}).items():
        variable = node.within(("url_env",))
        if variable is None or not variable.text:
            continue  # told as a missing key
        value, why = _look_up(variable.text, environ)
        if why == _NOT_SET:
            unset[name] = variable
        elif value is None:
            text = f"the address of contact `{name}` {why}: it cannot be told anything"
            hint = f"set {variable.text}, or {variable.text}_FILE to the name of a file"
            findings.warning(variable.mark, text, hint, code=Odd.UNSET_CONTACT)
        urls = value.get_secret_value().split() if value is not None else ()
        if flaw := next(filter(None, map(address_flaw, urls)), ""):
            hint = f"change what {variable.text} holds"
            findings.error(variable.mark, f"contact `{name}`: {flaw}", hint, code=Wrong.BAD_ADDRESS)
        found[name] = Contact(name, tuple(map(SecretStr, urls)))
    if unset:
        _tell_unset(unset, findings)
    return found


def _tell_unset(unset: Mapping[str, Node], findings: Findings) -> None:
    """Say once of all contacts of a place that they have no address: where none is set, one would drown the others."""
    first = next(iter(unset.values()))
    variables = ", ".join(each.text for each in unset.values())
    if len(unset) == 1:
        text = f"the address of contact `{next(iter(unset))}` is not set: it cannot be told anything"
        hint = f"set {variables}, or {variables}_FILE to the name of a file"
    else:
        text = f"{len(unset)} contacts have no address and cannot be told anything: {', '.join(unset)}"
        hint = f"set {variables}, or each with _FILE to the name of a file"
    findings.warning(first.mark, text, hint, code=Odd.UNSET_CONTACT)


def _look_up(variable: str, environ: Mapping[str, str]) -> tuple[SecretStr | None, str]:
    """Return a value, or why there is none. What a variable or a file holds is never part of that."""
    if environ.get(variable):
        return SecretStr(environ[variable]), ""
    file = environ.get(f"{variable}_FILE")
    if not file:
        return None, _NOT_SET
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(LARGEST_SECRET + 1)
        text = content.decode().rstrip("\r\n")
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return None, "is not text"
    if not text or len(content) > LARGEST_SECRET:
        return None, "is an empty file" if not text else "is a file larger than 64 KiB"
    return SecretStr(text), ""
