"""Schema: what an editor's YAML language server is told of the files of a rules directory, as JSON Schema of draft-07.

Made of the models that the loader checks with and of the catalog, so that a key is known to both or to none. `whole` is one schema
for all kinds of file: which kind it is, the keys of the file show.
"""

from collections.abc import Callable
from enum import StrEnum

from stopgap.catalog import Catalog
from stopgap.schema.entries import probe_of, step_of
from stopgap.schema.files import pack_file, rule_of, rules_file, rung_of, site_file
from stopgap.schema.form import Form

DRAFT = "http://json-schema.org/draft-07/schema#"


class Kind(StrEnum):
    """A kind of file."""

    RULES = "rules"
    PACK = "pack"
    SITE = "site"


_FILES: dict[Kind, Callable[[], Form]] = {
    Kind.RULES: rules_file,
    Kind.PACK: pack_file,
    Kind.SITE: site_file,
}


def schema_of(kind: Kind, catalog: Catalog) -> Form:
    """Return the schema of one kind of file."""
    made = {"$schema": DRAFT, "title": f"Stopgap: {kind}", **_FILES[kind]()}
    return {**made, "definitions": definitions(catalog)} if kind is Kind.RULES else made


def whole(catalog: Catalog) -> Form:
    """Return the schema of all kinds of file; of `pack.yaml` and `site.yaml` each may have the keys of the other."""
    rules, pack, site = rules_file(), pack_file(), site_file()
    shared = {
        **pack,
        "description": "pack.yaml, or site.yaml.",
        "properties": {**pack["properties"], "defaults": site["properties"]["defaults"]},
    }
    return {
        "$schema": DRAFT,
        "title": "Stopgap",
        "description": "A file of a rules directory: rules, pack.yaml or site.yaml.",
        "properties": {
            key: {"description": each["description"]} for key, each in rules["properties"].items()
        },
        "if": {"required": ["rules"]},
        "then": {"$ref": "#/definitions/rules"},
        "else": {
            "if": {"required": ["groups"]},  # Prometheus' alerting rules, which the loader leaves alone
            "else": {"$ref": "#/definitions/shared"},
        },
        "definitions": {**definitions(catalog), "rules": rules, "shared": shared},
    }


def definitions(catalog: Catalog) -> dict[str, Form]:
    """Return what files of rules are made of."""
    return {"rule": rule_of(), "rung": rung_of(), "step": step_of(catalog), "probe": probe_of(catalog)}
