"""Document: the form in which a rule is checked, built, digested and stored: plain JSON with everything that it needs.

`document_of` makes it from the nodes of a rule, of its pack and of its site, so that each part still knows the file and line
that it comes from: the pack's `match`, `severities` and `severity_names` and all defaults are put in, the short form becomes a
ladder of one rung, and the step `{flag: {…}, timeout: 5s}` becomes `{action: flag, params: {…}, timeout: 5s}`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from stopgap.catalog import Catalog
from stopgap.config.codes import Wrong
from stopgap.config.complaint import unknown_key
from stopgap.config.defaults import Layer, each, inherited
from stopgap.config.findings import Findings, did_you_mean
from stopgap.config.model import ProbeKeys, RungKeys, StepKeys
from stopgap.config.node import Node, table, text

_SHORT = tuple(key for key in RungKeys.model_fields if key != "name")
PACKS = ("pack", "vars", "secrets", "severities", "severity_names")
"""Keys of a document that only its pack gives it."""

_LISTS = {"do": "action", "activate": "action", "verify": "probe", "only_if": "probe"}


def document_of(
    rule: Node, pack: Mapping[str, Node], defaults: Iterable[Layer], catalog: Catalog, findings: Findings
) -> Node | None:
    """Return a rule's document, without vars and secrets; `pack` holds the keys name, match, severities and severity_names."""
    keys = rule.table
    if keys is None:
        said = f"a rule is a table, and this is {rule.kind}"
        findings.error(rule.mark, said, "write - name: … and match: … below it", code=Wrong.WRONG_TYPE)
        return None
    for key in PACKS:
        if key in keys:
            said, hint = f"`{key}` does not stand here", "it is for the whole pack: write it in pack.yaml"
            findings.error(rule.keys[key], said, hint, code=Wrong.MISPLACED_KEY)
    builder = _Entries(catalog, findings)
    made = inherited(builder.ladder(rule), defaults)
    if "match" in keys:
        made["match"] = Node(keys["match"].mark, [*each(pack.get("match")), *each(keys["match"])])
    made |= {"pack": pack["name"]} | {
        key: pack[key] for key in ("severities", "severity_names") if key in pack
    }
    if "recovered" in made:
        made["recovered"] = builder.each(made["recovered"], "probe")
    marks = {**{key: node.mark for key, node in made.items()}, **rule.keys}
    return table(rule.mark, made, marks)


class _Entries:
    """Makes entries of documents: steps and probes."""

    def __init__(self, catalog: Catalog, findings: Findings) -> None:
        self._catalog = catalog
        self._findings = findings

    def ladder(self, rule: Node) -> dict[str, Node]:
        """Return a rule's keys with the ladder in place."""
        made = rule.table or {}
        short = {key: made[key] for key in _SHORT if key in made}
        rest = {key: node for key, node in made.items() if key not in short}
        if "ladder" in made:
            for key in short:
                said = f"`{key}` beside `ladder`"
                self._findings.error(rule.keys[key], said, "move it into a rung", code=Wrong.CONFLICTING_KEYS)
            rungs = made["ladder"]
            inner = [self.rung(rung) for rung in rungs.items] if rungs.items is not None else rungs.value
            return rest | {"ladder": Node(rungs.mark, inner, rungs.text)}
        if "do" not in made:
            hint = "add do: [{…}], or ladder: [] for a rule that only tells people"
            self._findings.error(rule.mark, "`do` is missing", hint, code=Wrong.MISSING_KEY)
            return rest | {"ladder": Node(rule.mark, [])}
        marks = {key: rule.keys[key] for key in short}
        named = short | ({"name": made["name"]} if "name" in made else {})
        return rest | {"ladder": Node(rule.mark, [self.rung(table(rule.mark, named, marks))])}

    def rung(self, rung: Node) -> Node:
        """Return a rung with its steps and probes as entries."""
        if rung.table is None:
            return rung
        made = {
            key: self.each(node, _LISTS[key]) if key in _LISTS else node for key, node in rung.table.items()
        }
        return table(rung.mark, made, rung.keys)

    def each(self, nodes: Node, word: str) -> Node:
        """Return a list of steps or probes as entries."""
        if nodes.items is None:
            return nodes
        return Node(nodes.mark, [self._entry(node, word) for node in nodes.items])

    def _entry(self, node: Node, word: str) -> Node:
        kinds: Mapping[str, Any] = self._catalog.actions if word == "action" else self._catalog.probes
        name = self._name(node, kinds, word)
        if name is None or node.table is None:
            return table(node.mark, {word: text(node.mark, ""), "params": table(node.mark, {})})
        kind = kinds[name].params
        params = self._params(node, name, kind.scalar, kind.siblings)
        if params.table is not None:
            kept = {
                key: each.exact() if key in kind.verbatim and each.value is not None else each
                for key, each in params.table.items()
            }
            params = table(params.mark, kept, params.keys)
        for key in {word, "params"} & set(node.table):
            code, said, hint = unknown_key(key, ProbeKeys)
            self._findings.error(node.keys[key], said, hint, code=code)
        beside = {key: each for key, each in node.table.items() if key != name and key not in kind.siblings}
        made = {**beside, word: text(node.keys[name], name), "params": params}
        return table(node.mark, made, {**node.keys, word: node.keys[name], "params": node.keys[name]})

    def _params(self, node: Node, name: str, scalar: str, siblings: frozenset[str]) -> Node:
        """Return the parameters as one table, however YAML writes them."""
        inner = (node.table or {})[name]
        made, marks = inner.table, dict(inner.keys)
        if made is None and inner.items is None and inner.value is None:
            made = {}
        if made is None and scalar:
            made, marks = {scalar: inner}, {scalar: inner.mark}
        beside = {key: each for key, each in (node.table or {}).items() if key in siblings}
        for key in set(beside) & set(made or {}):
            said = f"`{key}` stands inside and beside `{name}`"
            self._findings.error(node.keys[key], said, "keep one of the two", code=Wrong.CONFLICTING_KEYS)
        if made is None:
            return inner
        return table(inner.mark, {**made, **beside}, {**marks, **{key: node.keys[key] for key in beside}})

    def _name(self, node: Node, kinds: Mapping[str, Any], word: str) -> str | None:
        """Find which key of a step or probe names what it is."""
        what = "step" if word == "action" else "probe"
        if node.table is None:
            self._findings.error(
                node.mark,
                f"a {what} is a table, and this is {node.kind}",
                f"write {{{next(iter(kinds), 'name')}: …}}",
                code=Wrong.WRONG_TYPE,
            )
            return None
        names = [key for key in node.table if key in kinds]
        if len(names) == 1:
            return names[0]
        if names:
            said = f"`{names[1]}` and `{names[0]}` in one {what}"
            hint = f"make a {what} of each"
            self._findings.error(node.keys[names[1]], said, hint, code=Wrong.CONFLICTING_KEYS)
            return None
        keys = {
            field.alias or name
            for name, field in (StepKeys if word == "action" else ProbeKeys).model_fields.items()
        }
        strange = next((key for key in node.table if key not in keys), None)
        if strange is None:
            hint = did_you_mean("", kinds)
            self._findings.error(node.mark, f"the {word} is missing", hint, code=Wrong.MISSING_KEY)
        else:
            code = Wrong.UNKNOWN_ACTION if word == "action" else Wrong.UNKNOWN_PROBE
            said = f"no {word} is called `{strange[:60]}`"
            self._findings.error(node.keys[strange], said, did_you_mean(strange, kinds), code=code)
        return None
