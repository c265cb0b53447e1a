"""Build: makes a Rule from its document, and finds everything that is wrong with it.

Rules are made of documents only, at load time and whenever a running incident's rule version comes back from the store, so that
both are checked alike. Templates are compiled and vars put in here; what is left of them waits for an alert.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import Any

import orjson
from pydantic import ValidationError

from stopgap.action import Danger
from stopgap.catalog import Catalog, danger_of
from stopgap.config.codes import Wrong
from stopgap.config.complaint import Teller, complain
from stopgap.config.entries import Entries, Surroundings, touches
from stopgap.config.escalations import escalation_of, judge as judge_escalations
from stopgap.config.findings import did_you_mean
from stopgap.config.limits import judge, limits_of
from stopgap.config.model import ProbeKeys, RuleKeys, RungKeys, StepKeys
from stopgap.config.nature import Nature
from stopgap.config.node import Path
from stopgap.config.wordings import Wordings
from stopgap.duration import print_duration
from stopgap.matcher import Matcher, MatcherError, parse_matchers
from stopgap.messages import WORDINGS
from stopgap.rule import ProbeSpec, Rule, RungSpec, StepSpec
from stopgap.template import RefKind, Template, Unresolved, compile_tree

_KEPT = ("vars", "secrets", "messages")  # keys of a document in which no template of a rule stands


def build_rule(document: Mapping[str, Any] | None, catalog: Catalog) -> Rule:
    """Build the rule of a stored document again. Raises ValueError when it cannot be built any more."""
    wrong = _Collected()
    rule = Builder(document, catalog, wrong).rule() if document is not None else None
    if rule is None or wrong.said:
        raise ValueError("; ".join(wrong.said) or "there is no document")
    return rule


def version_of(document: Mapping[str, Any]) -> str:
    """Return the digest that names a rule version."""
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


class _Collected:
    """Takes what is wrong without places; warnings were given when the rule was loaded."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def error(self, path: Path, text: str, *_: object, **__: object) -> None:
        """Keep the text."""
        self.said.append(f"{'.'.join(map(str, path))}: {text}")

    def warning(self, path: Path, text: str, *_: object, **__: object) -> None:
        """Keep nothing."""


class Builder:
    """Builds one rule. Without surroundings (a stored document), what depends on them is taken as checked."""

    def __init__(
        self, document: Mapping[str, Any], catalog: Catalog, tell: Teller, around: Surroundings | None = None
    ) -> None:
        self._document = document
        self._catalog = catalog
        self._tell = tell
        self._around = around
        self._wrong: set[Path] = set()
        self._entries = Entries(document, catalog, tell, around, self._wrong)

    @property
    def natures(self) -> Mapping[Path, Nature]:
        """What the steps of its rule are, by their paths, once it is built."""
        return self._entries.natures

    def rule(self) -> Rule | None:
        """Return the rule, None when its keys are wrong; whatever is wrong has been told."""
        tree = self._bound()
        self._entries.check(tree)
        try:
            keys = RuleKeys.model_validate(tree)
        except ValidationError as error:
            complain(error, RuleKeys, self._tell, skip=lambda path: touches(path, self._wrong))
            return None
        self._judge(keys)
        document = dict(self._document)
        return Rule(
            pack=keys.pack,
            name=keys.name,
            version=version_of(document),
            matchers=tuple(self._matchers(keys)),
            target=keys.target,
            per=keys.per,
            summary=keys.summary,
            runbook_url=keys.runbook_url,
            mode=keys.mode,
            recovered=tuple(map(self._probe, keys.recovered)),
            ladder=tuple(self._rung(each, i, keys) for i, each in enumerate(keys.ladder)),
            limits=limits_of(keys),
            yield_to=tuple(name if "/" in name else f"{keys.pack}/{name}" for name in keys.yield_to),
            escalate=tuple(map(escalation_of, keys.escalate)),
            severities=keys.severities,
            severity_names={str(level): name for level, name in keys.severity_names.items()},
            messages=Wordings(keys.vars, self._vars_known, self._tell).read(keys.messages),
            vars=keys.vars,
            secrets=keys.secrets,
            document=document,
        )

    # --- templates ---

    def _bound(self) -> dict[str, Any]:
        """Compile all templates and put the vars in."""
        tree, errors = compile_tree({key: each for key, each in self._document.items() if key not in _KEPT})
        for error in errors:
            self._wrong.add(error.path)
            code = Wrong.BAD_TEMPLATE
            self._tell.error(error.path, error.text, error.cure, code=code, offset=error.offset)
        bound = {key: self._bind(inner, (key,)) for key, inner in tree.items()}
        return bound | {key: self._document[key] for key in _KEPT if key in self._document}

    def _bind(self, tree: Any, at: Path) -> Any:
        if isinstance(tree, dict):
            return {key: self._bind(inner, (*at, key)) for key, inner in tree.items()}
        if isinstance(tree, list):
            return [self._bind(inner, (*at, i)) for i, inner in enumerate(tree)]
        if not isinstance(tree, Template):
            return tree
        try:
            return tree.bind_vars(self._document.get("vars", {}))
        except Unresolved as missing:
            self._wrong.add(at)
            self._unresolved(missing, at)
            return tree

    def _unresolved(self, missing: Unresolved, at: Path) -> None:
        name = missing.reference.name
        if name in self._document.get("vars", {}):
            self._tell.error(at, str(missing), f"change `{name}` in `vars`", code=Wrong.BAD_VAR)
            return
        hint = did_you_mean(name, self._vars_known, f"add `{name}` to `vars` of pack.yaml")
        self._tell.error(at, f"no var is called `{name}`", hint, code=Wrong.UNKNOWN_VAR)

    @property
    def _vars_known(self) -> Collection[str]:
        return self._around.vars if self._around else ()

    # --- the parts of a rule ---

    def _matchers(self, keys: RuleKeys) -> Iterator[Matcher]:
        for i, text in enumerate(keys.match):
            try:
                found = parse_matchers(text)
            except MatcherError as wrong:
                offset = (
                    wrong.column if text in self._document["match"] else None
                )  # else the file holds a template
                code = Wrong.BAD_MATCHER
                self._tell.error(("match", i), wrong.text, wrong.cure, code=code, offset=offset)
                continue
            if not found:
                hint = 'write one: alertname="…"'
                self._tell.error(("match", i), "no matcher stands here", hint, code=Wrong.BAD_MATCHER)
            yield from found

    def _rung(self, keys: RungKeys, number: int, rule: RuleKeys) -> RungSpec:
        steps = (*keys.do, *keys.activate)
        destructive = any(self._danger(step) is Danger.DESTRUCTIVE for step in steps)
        return RungSpec(
            name=keys.name or f"rung {number + 1}",
            do=tuple(map(self._step, keys.do)),
            activate=tuple(map(self._step, keys.activate)),
            verify=tuple(map(self._probe, keys.verify)),
            on_failure=keys.on_failure,
            on_resolve=keys.on_resolve,
            only_if=tuple(map(self._probe, keys.only_if)),
            approval=(keys.approval.timeout or rule.approval) if keys.approval is not None else None,
            go_on=keys.go_on,
            once=destructive if keys.once is None else keys.once,
        )

    def _step(self, keys: StepKeys) -> StepSpec:
        known = self._catalog.actions.get(keys.action)
        timeout = keys.timeout or (known.timeout if known else timedelta(seconds=30))
        return StepSpec(keys.action, keys.params, timeout, keys.retries, keys.optional, keys.title)

    def _probe(self, keys: ProbeKeys) -> ProbeSpec:
        after = self._after(keys)
        return ProbeSpec(keys.probe, keys.params, after, keys.within, keys.for_, keys.every, keys.timeout)

    def _after(self, keys: ProbeKeys) -> timedelta:
        known = self._catalog.probes.get(keys.probe)
        return keys.after if keys.after is not None else timedelta(seconds=known.after if known else 0)

    # --- what no single key shows ---

    def _judge(self, keys: RuleKeys) -> None:
        self._entries.references(keys.target, ("target",), {RefKind.LABELS})
        known = {*keys.messages, *WORDINGS, *(self._around.messages if self._around else ())}
        judge_escalations(keys.escalate, known, self._tell, self._entries.contact)
        for i, rung in enumerate(keys.ladder):
            for j, probe in enumerate(rung.verify):
                self._timing(probe, ("ladder", i, "verify", j))
            self._untimed(rung.only_if, ("ladder", i, "only_if"))
        self._untimed(keys.recovered, ("recovered",))
        if keys.ladder and keys.ladder[-1].go_on:
            at = ("ladder", len(keys.ladder) - 1, "go_on")
            hint = "remove it, or add a rung below"
            self._tell.error(at, "nothing comes after it", hint, code=Wrong.LAST_RUNG, at_key=True)
        judge(keys.guard, self._tell)

    def _untimed(self, probes: tuple[ProbeKeys, ...], at: Path) -> None:
        for i, probe in enumerate(probes):
            if "within" in probe.model_fields_set:
                text = "`within` is for `verify` only"
                place = (*at, i, "within")
                self._tell.error(place, text, "remove it", code=Wrong.MISPLACED_KEY, at_key=True)

    def _timing(self, probe: ProbeKeys, at: Path) -> None:
        needed = self._after(probe) + probe.for_
        if needed > probe.within:
            asked, limit = print_duration(needed), print_duration(probe.within)
            hint = f"write within: {print_duration(needed * 2)} or so"
            text = f"after + for is {asked}, longer than within ({limit})"
            self._tell.error(at, text, hint, code=Wrong.TIMING)

    def _danger(self, step: StepKeys) -> Danger:
        known = self._catalog.actions.get(step.action)
        return danger_of(known, step.params) if known else Danger.NONE
