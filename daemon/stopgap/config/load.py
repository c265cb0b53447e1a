"""Load: a directory of packs becomes rules, or the list of everything that is wrong with it.

`serve`, `check` and every reload ask this one function, so that what `check` lets pass also serves. Nothing is changed anywhere:
who loads decides what to do with the result.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, SecretStr, ValidationError

from stopgap.catalog import Catalog
from stopgap.config import lints, source
from stopgap.config.alerts import Alerts, alerts_in
from stopgap.config.build import Builder
from stopgap.config.codes import Odd, Wrong
from stopgap.config.complaint import complain
from stopgap.config.coverage import Coverage
from stopgap.config.defaults import Layer, known, layer_of
from stopgap.config.document import document_of
from stopgap.config.entries import Surroundings
from stopgap.config.findings import At, Findings, did_you_mean
from stopgap.config.lints.subject import Subject
from stopgap.config.model import PackKeys, SiteKeys
from stopgap.config.node import Mark, Node, table, text
from stopgap.config.relations import Place, Relations
from stopgap.config.surroundings import SECRETS, contacts_of, secrets_of
from stopgap.config.wordings import check_messages, messages_of, vars_in
from stopgap.contacts import Book, Contact
from stopgap.errors import ConfigError, Problem
from stopgap.matcher import MatcherIndex
from stopgap.plan import references
from stopgap.rule import AtOnce, Rule
from stopgap.rulebook import Rulebook
from stopgap.template import RefKind, compile_tree

M = TypeVar("M", bound=BaseModel)

Read = Callable[[Path, Findings], Node | None]
"""Reads one file; whatever is wrong with it goes to the findings."""

MOST_RULES = 20_000
DEFAULT = "default"  # the contact who hears what nobody else does


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything that the files say. `contacts` and `secrets` are by pack; the site's contacts stand under ""."""

    rules: tuple[Rule, ...]
    index: MatcherIndex[Rule]
    contacts: Book
    secrets: Mapping[str, Mapping[str, SecretStr]]
    documents: Mapping[str, Mapping[str, Any]]
    hash: str
    warnings: tuple[Problem, ...]
    at_once: AtOnce = AtOnce()

    @property
    def rulebook(self) -> Rulebook:
        """The rules as the engine takes them."""
        rules = {rule.id: rule for rule in self.rules}
        return Rulebook(rules, self.index, self.secrets, self.at_once)


def load(
    directory: Path,
    catalog: Catalog,
    *,
    vars: Mapping[str, str] | None = None,  # noqa: A002 - the word of the rules
    environ: Mapping[str, str],
    read: Read = source.read_file,
) -> Loaded:
    """Load a directory of packs, one pack, or one file. Raises ConfigError with all problems.

    `vars`, by name or by `pack/name`, outrank those of the files; `read` gives the files, for who loads the same ones often.
    """
    findings = Findings()
    loader = _Loader(catalog, vars or {}, environ, findings, read)
    loader.site(source.site_of(directory))
    for folder in source.folders_of(directory, findings):
        loader.pack(folder)
    loader.finish(directory)
    if findings.errors:
        raise ConfigError(findings.errors, loader.count)
    findings.settle(whole=not source.is_part(directory))
    rules = tuple(loader.rules.values())
    return Loaded(
        rules=rules,
        index=MatcherIndex((rule.matchers, rule) for rule in rules),
        contacts=loader.contacts,
        secrets=loader.secrets,
        documents={rule.version: rule.document for rule in rules},
        hash=_digest(rules, loader.contacts, loader.at_once),
        warnings=findings.warnings,
        at_once=loader.at_once,
    )


def read_vars(path: Path) -> dict[str, str]:
    """Read a file of vars, one table. Raises ConfigError."""
    findings = Findings()
    node = source.read_file(path, findings)
    found = _vars(node, findings)
    if findings.errors:
        raise ConfigError(findings.errors)
    return found


def _vars(node: Node | None, findings: Findings) -> dict[str, str]:
    """Return vars as their characters: `010` stays `010`."""
    if node is None:
        return {}
    if node.table is None:
        findings.error(
            node.mark,
            f"vars are a table, and this is {node.kind}",
            "write name: value",
            code=Wrong.WRONG_TYPE,
        )
        return {}
    found: dict[str, str] = {}
    for name, value in node.table.items():
        if value.table is not None or value.items is not None:
            text = f"a var is a text, and this is {value.kind}"
            findings.error(value.mark, text, 'quote it: "{…}"', code=Wrong.BAD_VAR)
        elif "{{" in value.text:
            text = "a var cannot be made of other vars"
            findings.error(value.mark, text, "write its value", code=Wrong.BAD_VAR)
        else:
            found[name] = value.text
    return found


def _digest(rules: Iterable[Rule], contacts: Book, at_once: AtOnce) -> str:
    names = {pack: sorted(book) for pack, book in contacts.items()}
    parts = [sorted((rule.id, rule.version) for rule in rules), names, at_once]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


@dataclass(slots=True)
class _Pack:
    """What one pack gives its rules."""

    name: str
    keys: Mapping[str, Node]
    vars: Mapping[str, str]
    secrets: frozenset[str]  # their names
    around: Surroundings
    defaults: tuple[Layer, ...]  # of the site, then its own
    first: dict[str, Mark] = field(default_factory=dict)  # where each rule's name stands


class _Loader:
    """Collects the rules of all packs."""

    def __init__(
        self,
        catalog: Catalog,
        given: Mapping[str, str],
        environ: Mapping[str, str],
        findings: Findings,
        read: Read,
    ) -> None:
        self._read = read
        self._catalog = catalog
        self._given = given
        self._environ = environ
        self._findings = findings
        self._site: Mapping[str, str] = {}
        self._defaults: Layer = {}
        self._messages: Node | None = None
        self._places: dict[str, Place] = {}
        self._alerts: dict[str, Alerts] = {}
        self._named: set[str] = set()
        self._packs: dict[str, Mark] = {}
        self._known: set[str] = set()
        self.count = 0  # of the rules that are there, also of those that cannot be built
        self.rules: dict[str, Rule] = {}
        self.contacts: dict[str, dict[str, Contact]] = {"": {}}
        self.secrets: dict[str, dict[str, SecretStr]] = {}
        self.at_once = AtOnce()

    def site(self, path: Path | None) -> None:
        """Take what all packs share."""
        node = self._read(path, self._findings) if path is not None else None
        if node is None:
            return
        checked = self._check(node, SiteKeys)
        if checked is not None:
            self.at_once = AtOnce(checked.defaults.actions_at_once, checked.defaults.probes_at_once)
        keys = node.table or {}
        self._defaults = layer_of(keys.get("defaults"), self._findings)
        self._site = _vars(keys.get("vars"), self._findings)
        self._known |= set(self._site)
        self.contacts[""] = contacts_of(keys.get("contacts"), self._environ, self._findings)
        self._messages = keys.get("messages")
        check_messages(self._messages, self._findings)

    def pack(self, folder: source.Folder) -> None:
        """Take one pack and its rules."""
        pack = self._pack(folder)
        alerts = self._alerts[pack.name] = Alerts()
        for file in sorted(folder.files, key=source.is_of_prometheus, reverse=True):
            node = self._read(file, self._findings)
            if node is not None:
                alerts.add(alerts_in(node))
                for rule in self._rules_of(node):
                    self.count += 1
                    self._rule(rule, pack)

    def finish(self, directory: Path) -> None:
        """Say what only all packs together show."""
        part, piece, mark = source.is_part(directory), source.is_piece(directory), Mark(str(directory))
        hidden: Callable[[str], bool] = lambda pack: part and (piece or pack not in self._packs)  # noqa: E731
        Relations(self.rules, self._places, self._named, self._findings, hidden).judge()
        Coverage(self.rules, self._places, self._alerts, self._findings).judge()
        used = {*self._known, *(f"{pack}/{name}" for pack in self._packs for name in self._known)}
        for name in sorted(set(self._given) - used):
            place = Mark(mark.file, key=f"vars.{name}")
            hint = did_you_mean(name, self._known, "remove it")
            self._findings.warning(place, f"no rule has a var `{name}`", hint, code=Odd.UNUSED_VAR)
        if not self.rules and not self._findings.errors:
            hint = "name a directory with packs"
            self._findings.error(mark, "there are no rules here", hint, code=Wrong.NO_RULES)
        if len(self.rules) > MOST_RULES:
            self._findings.error(mark, f"more than {MOST_RULES} rules", code=Wrong.TOO_LARGE)

    def _check(self, node: Node, model: type[M]) -> M | None:
        if node.table is None:
            said = f"this file holds a table, and this is {node.kind}"
            self._findings.error(node.mark, said, "write key: value", code=Wrong.WRONG_TYPE)
            return None
        checked = {
            key: known(each)
            if key == "defaults"
            else each.exact()
            if key == "vars" and each.value is not None
            else each
            for key, each in node.table.items()
        }
        tree = table(node.mark, checked, node.keys)
        plain = {key: each for key, each in tree.plain().items() if each is not None}
        try:
            return model.model_validate(plain)
        except ValidationError as wrong:
            complain(wrong, model, At(tree, self._findings), skip=lambda path: path[:1] == ("vars",))
            return None

    def _pack(self, folder: source.Folder) -> _Pack:
        node = self._read(folder.pack, self._findings) if folder.pack is not None else None
        empty = Mark(str(folder.place))
        keys = dict(node.table or {}) if node is not None else {}
        keys.setdefault("name", text(empty, folder.name))
        self._check(
            table(node.mark, keys, node.keys)
            if node is not None and node.table is not None
            else node or table(empty, keys),
            PackKeys,
        )
        name = keys["name"]
        if name.text in self._packs:
            first = self._packs[name.text]
            said = f"a pack is called `{name.text}` already, in {first.file}"
            self._findings.error(name.mark, said, "rename one", code=Wrong.DUPLICATE_NAME)
        self._packs[name.text] = name.mark
        values = {**_vars(keys.get("vars"), self._findings), **self._site, **self._for(name.text)}
        self._known |= set(keys["vars"].table or {} if "vars" in keys else ())
        self.secrets[name.text] = secrets_of(keys, self._environ, self._findings)
        self.contacts[name.text] = contacts_of(keys.get("contacts"), self._environ, self._findings)
        check_messages(keys.get("messages"), self._findings)
        names = {*self.contacts[""], *self.contacts[name.text]}
        if DEFAULT not in names:
            hint = "add it to `contacts` of site.yaml"
            said = "no contact is called `default`: nobody hears when automation gives up"
            self._findings.warning(name.mark, said, hint, code=Odd.NO_DEFAULT_CONTACT)
        declared = frozenset(each.text for key in SECRETS if key in keys for each in keys[key].items or ())
        defaults = (self._defaults, layer_of(keys.get("defaults"), self._findings))
        messages = {
            each for node in (self._messages, keys.get("messages")) if node for each in node.table or {}
        }
        around = Surroundings(self.secrets[name.text], names, values, messages)
        return _Pack(name.text, keys, values, declared, around, defaults)

    def _for(self, pack: str) -> dict[str, str]:
        """Return the vars that were given for a pack: for all, then for this one alone (`pack/name`)."""
        start = f"{pack}/"
        own = {
            name.removeprefix(start): value for name, value in self._given.items() if name.startswith(start)
        }
        return {name: value for name, value in self._given.items() if "/" not in name} | own

    def _rules_of(self, node: Node) -> tuple[Node, ...]:
        keys = node.table
        if keys is None:
            said = f"a file of rules is a table, and this is {node.kind}"
            self._findings.error(node.mark, said, "begin it with rules:", code=Wrong.WRONG_TYPE)
            return ()
        if "groups" in keys and "rules" not in keys:
            return ()  # Prometheus' alerting rules
        for key in keys:
            if key != "rules":
                hint = did_you_mean(key, ["rules"], "a file of rules has the key rules only")
                said = f"unknown key `{key[:60]}`"
                self._findings.error(node.keys[key], said, hint, code=Wrong.UNKNOWN_KEY)
        rules = keys.get("rules")
        if rules is None or rules.value is None:
            return ()
        if rules.items is None:
            said = f"rules are a list, and this is {rules.kind}"
            self._findings.error(rules.mark, said, "begin each with - name:", code=Wrong.WRONG_TYPE)
        return tuple(rules.items or ())

    def _rule(self, node: Node, pack: _Pack) -> None:
        document = document_of(node, pack.keys, pack.defaults, self._catalog, self._findings)
        if document is None:
            return
        check_messages((document.table or {}).get("messages"), self._findings)
        whole = self._completed(document, pack)
        at = At(whole, self._findings)
        builder = Builder(whole.plain(), self._catalog, at, pack.around)
        rule = builder.rule()
        name = (document.table or {}).get("name")
        self._named |= {f"{pack.name}/{name.text}"} if name is not None else set()
        if name is not None and name.text in pack.first:
            first = pack.first[name.text]
            self._findings.error(
                name.mark,
                f"a rule is called `{name.text}` already",
                f"rename it, or that of {first.file}:{first.line}",
                code=Wrong.DUPLICATE_NAME,
            )
        elif name is not None:
            pack.first[name.text] = name.mark
        if rule is not None:
            marks = tuple(whole.find(("yield_to", i)) for i in range(len(rule.yield_to)))
            subject = Subject(rule, builder.natures, self._alerts[pack.name].of(rule.matchers), whole)
            lints.judge(subject, at)
            self._places[rule.id] = Place(whole.find(("name",)), marks, whole.find(subject.match))
            self.rules[rule.id] = rule

    def _completed(self, document: Node, pack: _Pack) -> Node:
        """Add the vars, secrets and messages that a document uses: no others, so that its version changes only when it does."""
        mark, keys = document.mark, document.table or {}
        messages = messages_of((self._messages, pack.keys.get("messages")), keys, mark)
        compiled, _ = compile_tree({key: each.plain() for key, each in keys.items() if key != "messages"})
        used = references(compiled)
        named = {one.name for one in used if one.kind is RefKind.VARS} | vars_in(messages)
        vars_used = sorted(named & set(pack.vars))
        secrets = sorted(one.name for one in used if one.kind is RefKind.SECRETS and one.name in pack.secrets)
        self._known |= set(vars_used)
        added = {
            "vars": table(mark, {name: text(mark, pack.vars[name]) for name in vars_used}),
            "secrets": Node(mark, [text(mark, name) for name in secrets]),
        } | ({"messages": messages} if messages is not None else {})
        return table(mark, {**keys, **added}, document.keys)
