"""Clear text: passwords, tokens and keys that stand in a file, where they are copied, committed, journaled and shown.

What is found is never printed: it is only said what it looks like, and where.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from stopgap.config.node import Node

_SHAPES = tuple(
    (what, sign, re.compile(regex))
    for what, sign, regex in (
        ("an AWS access key", "A", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        ("a GitHub token", "gh", r"\bgh[pousr]_[A-Za-z0-9]{36}"),
        ("a GitHub token", "github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{22}"),
        ("a GitLab token", "gl", r"\bgl(?:pat|rt|dt)-[A-Za-z0-9_-]{20}"),
        ("a Slack token", "xox", r"\bxox[abeprs]-[A-Za-z0-9-]{10}"),
        ("the address of a Slack webhook", "hooks.slack", r"hooks\.slack\.com/services/T\w+/B\w+/\w"),
        ("a Stripe key", "k_live_", r"\b[rs]k_live_[A-Za-z0-9]{16}"),
        ("a Google API key", "AIza", r"\bAIza[A-Za-z0-9_-]{35}"),
        ("a SendGrid key", "SG.", r"\bSG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16}"),
        ("an npm token", "npm_", r"\bnpm_[A-Za-z0-9]{36}"),
        ("a Telegram token", ":AA", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
        ("a token of Fly.io", "FlyV1", r"\bFlyV1 fm[0-9]_"),
        ("a signed token (JWT)", "eyJ", r"\beyJ[A-Za-z0-9_-]{10,4096}\.eyJ[A-Za-z0-9_-]{10}"),
        ("a private key", "PRIVATE KEY", r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"),
        ("a password in a URL", "://", r"://[^\s/?#@:{}]{0,200}:(?![$*<])[^\s/?#@{}]{1,200}@"),
        (
            "a token in a URL",
            "=",
            r"(?i)[?&](?:api_?key|(?:access_?|auth_?)?token|secret|password)=(?![$*<])[^\s&#{}]{8}",
        ),
        ("a token in a header", " ", r"(?i)\b(?:bearer|basic|token) +(?=\S*[0-9])[a-z0-9+/=._~-]{16,4096}"),
    )
)
"""What it looks like, the characters without which it does not, and how."""

_SECRET_KEY = re.compile(
    r"(?:^|[_.-])(?:password|passwd|passphrase|secret|token|api_?key|access_?key|secret_?key|private_?key|credentials?)$"
    r"|^x-[a-z-]*(?:key|token)$|^authorization$",
    re.IGNORECASE,
)
_LIKELY = re.compile(r"(?!\S*://)(?=\S*[0-9])(?=\S*[A-Za-z])[^\s{}$<>*/.~][^\s{}]{7,4095}")
_PAIR = re.compile(
    r"""(?P<head>["']?(?P<key>\b[\w.-]{1,200})["']?\s{0,9}:\s{1,9}["']?)(?P<value>[^\s"',{}]+)"""
)
_REST = re.compile(r"[^\s\"',{}]*")
_SHORTEST, _LONGEST = 8, 20_000  # characters that are looked at


def clear_text_in(node: Node, key: str = "") -> Iterator[tuple[Node, str]]:
    """Find the scalars that look like secrets, each with what it looks like; `key` is that under which a scalar stands."""
    if node.table is not None:
        for name, inner in node.table.items():
            yield from clear_text_in(inner, name)
    elif node.items is not None:
        for inner in node.items:
            yield from clear_text_in(inner)
    elif what := looks_like(node.text, key):
        yield node, what


def masked(line: str) -> str:
    """Return a line of a file with stars in place of what looks like a secret, so that it can be shown."""
    if len(line) > _LONGEST:
        return "*" * len(line)
    for _, sign, shape in _SHAPES:
        if sign in line:
            line = "".join(_covered(line, shape))
    return _PAIR.sub(_starred, line)


def _covered(line: str, shape: re.Pattern[str]) -> Iterator[str]:
    """Return a line in pieces, stars for each word in which the shape was found, to its end."""
    done = 0
    for found in shape.finditer(line):
        rest = _REST.match(line, found.end())
        end = rest.end() if rest is not None else found.end()
        yield line[done : max(found.start(), done)]
        yield "*" * (end - max(found.start(), done))
        done = max(end, done)
    yield line[done:]


def _starred(pair: re.Match[str]) -> str:
    secret = _is_secret(pair["key"]) and looks_like(pair["value"], pair["key"])
    return pair["head"] + "*" * len(pair["value"]) if secret else pair[0]


def looks_like(text: str, key: str = "") -> str:
    """Say what secret a text looks like; nothing where it looks like none."""
    if len(text) < _SHORTEST:
        return ""
    text = text[:_LONGEST]
    for what, sign, shape in _SHAPES:
        if sign in text and shape.search(text):
            return what
    return f"the value of `{key[:60]}`" if key and _is_secret(key) and _LIKELY.fullmatch(text) else ""


@lru_cache(4096)
def _is_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None
