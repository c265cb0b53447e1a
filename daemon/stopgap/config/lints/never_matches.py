"""Never matches: matchers of one label that exclude each other, those of the pack too: the rule waits for no alert at all."""

from collections.abc import Iterator, Sequence

from stopgap.config.codes import Wrong
from stopgap.config.lints.subject import Remark, Subject
from stopgap.config.node import Path
from stopgap.config.values import values_of
from stopgap.matcher import Matcher, MatcherError, Op, parse_matchers
from stopgap.template import Template, TemplateError, Unresolved

_OPPOSITE = {Op.MATCHES: Op.NOT_MATCHES, Op.NOT_MATCHES: Op.MATCHES}


def never_matches(subject: Subject) -> Iterator[Remark]:
    """Find the labels of which no value satisfies all matchers."""
    by_label: dict[str, list[Matcher]] = {}
    for matcher in subject.rule.matchers:
        by_label.setdefault(matcher.name, []).append(matcher)
    for matchers in by_label.values():
        clash = _clash(matchers)
        if clash:
            said = " and ".join(f"`{str(each)[:60]}`" for each in clash)
            text = f"{said} exclude each other" if len(clash) > 1 else f"{said} excludes every value"
            hint = "remove one of them, or make a rule of each" if len(clash) > 1 else "change it"
            place = _place(subject, clash[-1])
            yield Remark(place, Wrong.NEVER_MATCHES, f"{text}: this rule can never match", hint)


def _clash(matchers: Sequence[Matcher]) -> tuple[Matcher, ...]:
    """Return the matchers that leave their label no value, none where it may have one."""
    listed = next((each for each in matchers if values_of(each) is not None), None)
    if listed is None:
        return _opposites(matchers)
    left = values_of(listed) or frozenset()
    if not left:
        return (listed,)
    for matcher in matchers:
        left = frozenset(value for value in left if matcher.matches({matcher.name: value}))
        if not left:
            return tuple(sorted((listed, matcher), key=matchers.index))
    return ()


def _opposites(matchers: Sequence[Matcher]) -> tuple[Matcher, ...]:
    """Find a regex that must match and must not."""
    seen: dict[tuple[Op, str], Matcher] = {}
    for matcher in matchers:
        other = seen.get((_OPPOSITE.get(matcher.op, matcher.op), matcher.value))
        if other is not None and other.op is not matcher.op:
            return other, matcher
        seen[matcher.op, matcher.value] = matcher
    return ()


def _place(subject: Subject, matcher: Matcher) -> Path:
    """Find the last entry of `match` in which a matcher stands; several may stand in one."""
    texts = subject.rule.document.get("match", ())
    for i in range(len(texts) - 1, -1, -1):
        try:
            bound = Template.parse(str(texts[i])).bind_vars(subject.rule.vars)
            if matcher in parse_matchers(str(bound)):
                return ("match", i)
        except (MatcherError, TemplateError, Unresolved):
            continue  # told when the rule was built
    return ("match",)
