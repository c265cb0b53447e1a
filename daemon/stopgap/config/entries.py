"""Entries: the steps and probes of a document, and the check of their parameters before an alert shows the rest of them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import SecretStr, ValidationError

from stopgap.action import Danger, Params
from stopgap.catalog import Catalog, danger_of
from stopgap.config.codes import Wrong
from stopgap.config.complaint import Teller, complain, shape_of, unknown_key
from stopgap.config.findings import did_you_mean
from stopgap.config.model import ProbeKeys, StepKeys
from stopgap.config.nature import Nature
from stopgap.config.node import Path
from stopgap.template import RefKind, Scope, Template, Unresolved, UnsafeLabel, render_tree

_ANY = tuple(RefKind)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What only loading knows: the values of secrets, the names of contacts, and the vars and messages that may be meant."""

    secrets: Mapping[str, SecretStr] = field(default_factory=dict)
    contacts: Collection[str] = ()
    vars: Collection[str] = ()
    messages: Collection[str] = ()


def entries_of(tree: Mapping[str, Any]) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """Go through the steps ("action") and probes ("probe") of a document, as far as it is one."""
    ladder = tree.get("ladder")
    places: list[tuple[Path, str, Any]] = [(("recovered",), "probe", tree.get("recovered"))]
    for i, rung in enumerate(ladder if isinstance(ladder, list) else ()):
        if isinstance(rung, dict):
            places += [(("ladder", i, key), "action", rung.get(key)) for key in ("do", "activate")]
            places += [(("ladder", i, key), "probe", rung.get(key)) for key in ("verify", "only_if")]
    for path, word, entries in places:
        for i, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, dict):
                yield (*path, i), word, entry


def touches(path: Path, others: Collection[Path]) -> bool:
    """Tell whether one of the others stands at, above or below a path."""
    return any(path[: len(each)] == each[: len(path)] for each in others)


class Entries:
    """Checks the steps and probes of one document. `natures` tells afterwards what its steps are, by their paths."""

    def __init__(
        self,
        document: Mapping[str, Any],
        catalog: Catalog,
        tell: Teller,
        around: Surroundings | None,
        wrong: set[Path],
    ) -> None:
        self._secrets = frozenset(document.get("secrets", ()))
        self._catalog = catalog
        self._tell = tell
        self._around = around
        self._wrong = wrong
        self.natures: dict[Path, Nature] = {}

    def check(self, tree: Mapping[str, Any]) -> None:
        """Tell of every action, probe and parameter that is wrong, whatever else is."""
        for path, word, entry in entries_of(tree):
            kinds: Mapping[str, Any] = self._catalog.actions if word == "action" else self._catalog.probes
            name, inner = str(entry.get(word)), entry.get("params")
            if name == "":
                continue  # told when the document was made
            if name not in kinds:
                code = Wrong.UNKNOWN_ACTION if word == "action" else Wrong.UNKNOWN_PROBE
                text = f"no {word} is called `{name}`"
                self._tell.error((*path, word), text, did_you_mean(name, kinds), code=code)
                continue
            at = (*path, "params")
            for key, each in inner.items() if isinstance(inner, dict) else ():
                allowed = () if key in kinds[name].params.fixed else _ANY
                self.references(each, (*at, key), allowed)
            self._beside(entry, path, word, kinds[name].params)
            params = self._params(kinds[name].params, inner, at, name)
            if word == "action":
                self._action(name, params, path, tree)
            if name == "notify" and isinstance(inner, dict) and isinstance(inner.get("contact"), str):
                self.contact(inner["contact"], (*at, "contact"))

    def references(self, tree: Any, at: Path, allowed: Collection[RefKind]) -> None:
        """Tell of templates that ask for what cannot be had here."""
        if isinstance(tree, dict | list):
            for key, inner in tree.items() if isinstance(tree, dict) else enumerate(tree):
                self.references(inner, (*at, key), allowed)
        for reference in sorted(tree.references, key=str) if isinstance(tree, Template) else ():
            if reference.kind is RefKind.VARS:
                continue  # told when it could not be bound
            if reference.kind not in allowed:
                cure = f"use {', '.join(allowed)} or vars" if allowed else "use vars only"
                text, hint = f"{reference} cannot stand here", cure
                self._tell.error(at, text, hint, code=Wrong.BAD_TEMPLATE)
            elif reference.kind is RefKind.SECRETS and reference.name not in self._secrets:
                hint = f"add it to `secrets` of pack.yaml: [{reference.name}]"
                text = f"no secret is called `{reference.name}`"
                self._tell.error(at, text, hint, code=Wrong.UNKNOWN_SECRET)

    def contact(self, name: str, at: Path) -> None:
        """Tell of a contact that nobody defined."""
        if self._around is not None and name not in self._around.contacts:
            hint = did_you_mean(name, self._around.contacts, "add it to `contacts` of pack.yaml or site.yaml")
            self._tell.error(at, f"no contact is called `{name}`", hint, code=Wrong.UNKNOWN_CONTACT)

    def _beside(self, entry: Mapping[str, Any], path: Path, word: str, kind: type[Params]) -> None:
        """Tell of keys beside an action or a probe that do not stand there: many a one is its parameter."""
        keys = StepKeys if word == "action" else ProbeKeys
        known = {field.alias or key for key, field in keys.model_fields.items()}
        own = {field.alias or key for key, field in kind.model_fields.items()}
        for key in entry.keys() - known:
            code, text, hint = unknown_key(key, keys, kind.siblings)
            if key in own:
                shape = shape_of(str(entry[word]), kind, key)
                code, text = Wrong.MISPLACED_KEY, f"`{key}` does not stand here"
                hint = f"it is a parameter: write {shape}"
                self._wrong.add((*path, "params", key))  # and so it is not missing there
            self._tell.error((*path, key), text, hint, code=code, at_key=True)
            self._wrong.add((*path, key))

    def _action(self, name: str, params: Params | None, path: Path, tree: Mapping[str, Any]) -> None:
        action = self._catalog.actions[name]
        approval = tree["ladder"][path[1]].get("approval")
        asks = approval is not None and approval is not False and approval != "false"
        danger = danger_of(action, tree["ladder"][path[1]][path[2]][path[3]].get("params"))
        if danger is Danger.DESTRUCTIVE and not asks:
            hint = "add approval: 15m to its rung"
            text = f"`{name}` is destructive and needs an approval"
            self._tell.error((*path, "action"), text, hint, code=Wrong.UNAPPROVED)
        nature = Nature(danger, prose=action.params.prose)
        if params is not None:
            nature = replace(nature, reverts=action.reverts(params), idempotent=action.idempotent(params))
        self.natures[path] = nature

    def _params(self, kind: type[Params], tree: Any, at: Path, name: str) -> Params | None:
        """Check parameters as far as they are known before an alert fires; return them if they are well so far."""
        given = self._around.secrets if self._around else {}
        secrets = {name: given.get(name, SecretStr("1")) for name in self._secrets}
        unknown = {*self._wrong, *self._unknown(tree, at)}
        scope = Scope(_Anything(), _Anything(), _Anything(), secrets, "1", "INC-1")
        try:
            return kind.model_validate(render_tree(tree, scope))
        except ValidationError as error:
            shape = shape_of(name, kind)
            complain(error, kind, self._tell, at, lambda path: touches((*at, *path), unknown), shape)
        except (Unresolved, UnsafeLabel):  # a secret that is not declared, told already
            pass
        return None

    def _unknown(self, tree: Any, at: Path) -> Iterator[Path]:
        """Find the leaves whose value only an alert, or the environment at run time, will show."""
        if isinstance(tree, dict | list):
            for key, inner in tree.items() if isinstance(tree, dict) else enumerate(tree):
                yield from self._unknown(inner, (*at, key))
        elif isinstance(tree, Template):
            known = self._around.secrets if self._around else {}
            if any(one.kind is not RefKind.SECRETS or one.name not in known for one in tree.references):
                yield at


class _Anything(dict[str, str]):
    """Labels, annotations and vars before there are any: each is there, and is a plain word that is a number too."""

    def get(self, _: str, __: object = None) -> str:
        """Return the same for every name."""
        return "1"
