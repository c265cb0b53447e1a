"""Schema: what an editor's YAML language server is told of the files of a rules directory, as JSON Schema of draft-07.

Made of the models that the loader checks with and of the catalog, so that a key is known to both or to none. `whole` is one schema
for all kinds of file: which kind it is, the keys of the file show.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from stopgap.catalog import Catalog
from stopgap.schema.entries import probe_of, step_of
from stopgap.schema.files import pack_file, rule_of, rules_file, rung_of, site_file
from stopgap.schema.form import Form, table_of
from stopgap.schema.leeway import exact

DRAFT = "http://json-schema.org/draft-07/schema#"
RULES, PACK, SITE = "rules", "pack", "site"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file beside rules, packs and sites. Its scalars are taken as their characters."""

    name: str
    model: type[BaseModel]

    def form(self) -> Form:
        """Return its form."""
        return exact(table_of(self.model))


def schema_of(kind: str, catalog: Catalog, others: Iterable[Kind] = ()) -> Form:
    """Return the schema of one kind of file. Raises KeyError for one that is not there."""
    made = {
        RULES: rules_file(),
        PACK: pack_file(),
        SITE: site_file(),
        **{one.name: one.form() for one in others},
    }
    schema = {"$schema": DRAFT, "title": f"Stopgap: {kind}", **made[kind]}
    return {**schema, "definitions": definitions(catalog)} if kind == RULES else schema


def whole(catalog: Catalog, others: Iterable[Kind] = ()) -> Form:
    """Return the schema of all kinds of file; of `pack.yaml` and `site.yaml` each may have the keys of the other."""
    pack, site = pack_file(), site_file()
    shared = {
        **pack,
        "description": "pack.yaml, or site.yaml.",
        "properties": {**pack["properties"], "defaults": site["properties"]["defaults"]},
    }
    kinds = {RULES: rules_file(), **{one.name: one.form() for one in others}}
    own = {name: _own(name, {**kinds, "shared": shared}) for name in kinds}
    law: Form = {"if": _one_of(["groups"]), "else": {"$ref": "#/definitions/shared"}}  # of Prometheus: let be
    for name in reversed(kinds):
        law = {"if": _one_of(own[name]), "then": {"$ref": f"#/definitions/{name}"}, "else": law}
    return {
        "$schema": DRAFT,
        "title": "Stopgap",
        "description": f"A file of a rules directory: pack.yaml, site.yaml, or one of {', '.join(kinds)}.",
        "properties": {
            key: _told(kinds[name]["properties"][key]) for name, keys in own.items() for key in keys
        },
        **law,
        "definitions": {**definitions(catalog), "shared": shared, **kinds},
    }


def _own(name: str, kinds: Mapping[str, Form]) -> list[str]:
    """Return the keys that files of no other kind have: one of them shows the kind."""
    others = {key for other, form in kinds.items() if other != name for key in form["properties"]}
    return [key for key in kinds[name]["properties"] if key not in others]


def _one_of(keys: Iterable[str]) -> Form:
    return {"anyOf": [{"required": [key]} for key in keys]}


def _told(form: Form) -> Form:
    return {"description": form["description"]}


def definitions(catalog: Catalog) -> dict[str, Form]:
    """Return what files of rules are made of."""
    return {"rule": rule_of(), "rung": rung_of(), "step": step_of(catalog), "probe": probe_of(catalog)}
