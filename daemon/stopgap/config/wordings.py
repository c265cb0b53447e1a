"""Wordings: the `messages` of a site, a pack or a rule: what people read, checked before anybody must read it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from stopgap.config.codes import Wrong
from stopgap.config.complaint import Teller
from stopgap.config.findings import Findings, did_you_mean
from stopgap.config.node import Mark, Node, Path, table
from stopgap.messages import WORDINGS
from stopgap.template import TemplateError
from stopgap.wording import Phrase, Wording

_PARTS = ("subject", "body")


def check_messages(node: Node | None, findings: Findings) -> None:
    """Tell of every field that messages cannot have, those that no rule uses too."""
    for message in ((node.table or {}) if node is not None else {}).values():
        for part in _PARTS:
            leaf = message.within((part,))
            if leaf is not None and isinstance(leaf.value, str):
                try:
                    Phrase.parse(leaf.value)
                except TemplateError as wrong:
                    place = leaf.place(wrong.offset)
                    findings.error(place, wrong.text, wrong.cure, code=Wrong.BAD_TEMPLATE)


def messages_of(layers: Iterable[Node | None], rule: Mapping[str, Node], mark: Mark) -> Node | None:
    """Return the messages of a rule, and of those of its site and pack what it uses; the nearest counts. None for none."""
    found: dict[str, Node] = {}
    for node in layers:
        found |= (node.table or {}) if node is not None else {}
    wanted = {*_used(rule.get("escalate")), *WORDINGS}
    found = {name: node for name, node in found.items() if name in wanted}
    own = rule.get("messages")
    if own is not None and own.table is None:
        return own  # told when the keys are read
    found |= (own.table or {}) if own is not None else {}
    return table(mark, found) if found else None


def _used(escalate: Node | None) -> Iterator[str]:
    """Find the names that a rule's `escalate` asks for."""
    for entry in (escalate.items or ()) if escalate is not None else ():
        name = entry.within(("message",))
        if name is not None and name.text:
            yield name.text


def vars_in(messages: Node | None) -> frozenset[str]:
    """Find the vars that messages ask for; what cannot be read is told elsewhere."""
    found: set[str] = set()
    for message in ((messages.table or {}) if messages is not None else {}).values():
        for part in _PARTS:
            leaf = message.within((part,))
            try:
                slots = Phrase.parse(leaf.value).slots if leaf and isinstance(leaf.value, str) else ()
            except TemplateError:
                continue
            found |= {slot.key for slot in slots if slot.name == "vars"}
    return frozenset(found)


class Wordings:
    """Makes the wordings of one rule of its document's messages, with the vars put in."""

    def __init__(self, values: Mapping[str, str], known: Iterable[str], tell: Teller) -> None:
        self._values = values
        self._known = known
        self._tell = tell

    def read(self, messages: Mapping[str, Any]) -> dict[str, Wording]:
        """Return the wordings by name, without those in which something is wrong."""
        found = {}
        for name, message in messages.items():
            subject = self._phrase(message.subject, ("messages", name, "subject"))
            body = self._phrase(message.body, ("messages", name, "body"))
            if subject is not None and body is not None:
                found[name] = Wording(subject, body)
        return found

    def _phrase(self, text: str, at: Path) -> Phrase | None:
        try:
            return Phrase.parse(text).bound(self._values)
        except TemplateError as wrong:
            self._tell.error(at, wrong.text, wrong.cure, code=Wrong.BAD_TEMPLATE, offset=wrong.offset)
        except KeyError as missing:
            name = missing.args[0]
            hint = did_you_mean(name, self._known, f"add `{name}` to `vars` of pack.yaml")
            self._tell.error(at, f"no var is called `{name}`", hint, code=Wrong.UNKNOWN_VAR)
        return None
