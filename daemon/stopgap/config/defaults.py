"""Defaults: what a site and a pack set for their rules. Nearer to the rule wins, key by key; lists of `protected` add up.

A guard that is written as a table changes the keys that it names and leaves the others as they are further out; its short form
(`storm: 10/5m`) says all of it. So no rule loses its site's `windows.deny` by adding hours of its own.
"""

from collections.abc import Iterable, Mapping, Sequence

from stopgap.config.codes import Wrong
from stopgap.config.findings import Findings
from stopgap.config.guards import SHORT_FORMS, GuardKeys, SiteDefaultKeys, TermKeys
from stopgap.config.node import Node, table

Layer = Mapping[str, Node]
"""The keys of a rule that one file of defaults sets, all guards under `guard`."""

_ADDING = frozenset({"protected"})
DAEMON = (
    frozenset(SiteDefaultKeys.model_fields)
    - frozenset(TermKeys.model_fields)
    - frozenset(GuardKeys.model_fields)
)
"""Defaults of no rule, but of the whole daemon: no template is rendered in them."""


def layer_of(defaults: Node | None, findings: Findings) -> Layer:
    """Return what a `defaults` sets; what is unknown in it or of the wrong kind is told elsewhere."""
    keys = (defaults.table if defaults is not None else None) or {}
    made = {key: node for key, node in keys.items() if key in TermKeys.model_fields and key != "guard"}
    guard = keys.get("guard")
    inner = (guard.table if guard is not None else None) or {}
    beside = {key: node for key, node in keys.items() if key in GuardKeys.model_fields}
    if defaults is None or not (inner or beside):
        return made
    for key in beside:
        if key in inner:
            text = f"`{key}` stands inside and beside `guard`"
            findings.error(defaults.keys[key], text, "keep one of the two", code=Wrong.CONFLICTING_KEYS)
    marks = {**{key: defaults.keys[key] for key in beside}, **(guard.keys if guard is not None else {})}
    return {**made, "guard": table(defaults.mark, {**beside, **inner}, marks)}


def inherited(rule: Mapping[str, Node], layers: Iterable[Layer]) -> dict[str, Node]:
    """Return the keys of a rule, with those that it leaves to the layers, the furthest of which comes first."""
    made: dict[str, Node] = {}
    for layer in (*layers, rule):
        both = {**made, **layer}
        if "guard" in made and "guard" in layer:
            both["guard"] = _nearer("guard", made["guard"], layer["guard"])
        made = both
    return made


def _nearer(key: str, far: Node, near: Node) -> Node:
    """Return what two files come to that both say something of one key."""
    if key in _ADDING:
        return Node(near.mark, [*each(far), *each(near)])
    if far.table is None and key in SHORT_FORMS:
        far = table(far.mark, {SHORT_FORMS[key]: far})
    if far.table is None or near.table is None:
        return near
    merged = {
        name: _nearer(name, far.table[name], node) if key == "guard" and name in far.table else node
        for name, node in near.table.items()
    }
    return table(near.mark, {**far.table, **merged}, {**far.keys, **near.keys})


def each(node: Node | None) -> Sequence[Node]:
    """Return the items of a list, and of anything else itself."""
    if node is None:
        return ()
    return node.items if node.items is not None else (node,)


def known(node: Node) -> Node:
    """Return a file's defaults without what holds a template: that is checked with each rule, whose vars it gets."""
    if node.table is not None:
        return table(
            node.mark,
            {key: known(inner) for key, inner in node.table.items() if key in DAEMON or not _open(inner)},
            node.keys,
        )
    if node.items is not None:
        return Node(node.mark, [known(inner) for inner in node.items if not _open(inner)], node.text)
    return node


def _open(node: Node) -> bool:
    return node.table is None and node.items is None and "{{" in node.text
