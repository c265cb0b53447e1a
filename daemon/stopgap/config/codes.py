"""Codes: the stable word of each thing that can be wrong (`Wrong`) or odd (`Odd`) in rules, and what it means.

A code never changes its meaning: people silence what is odd by it (`# stopgap: allow CODE reason`), and programs sort by it. What
is wrong does not load; what is odd loads, and a person should think about it.
"""

from enum import StrEnum
from typing import Self


class Code(StrEnum):
    """A word in kebab-case, with what it means in one line."""

    means: str

    def __new__(cls, word: str, means: str) -> Self:
        """Make the word of the pair."""
        code = str.__new__(cls, word)
        code._value_ = word
        code.means = means
        return code


class Wrong(Code):
    """What must be changed before rules load."""

    # the file
    UNREADABLE = "unreadable", "a file or directory cannot be read, or is not UTF-8"
    TOO_LARGE = "too-large", "a file, a directory or a list is larger than Stopgap takes"
    NO_RULES = "no-rules", "there is no rule in what was named"
    SYNTAX = "syntax", "the file is not YAML: indentation, a tab, a quote, a bracket"
    UNSUPPORTED_YAML = "unsupported-yaml", "YAML that rules do without: tags, merge keys, several documents"
    # keys and values
    DUPLICATE_KEY = "duplicate-key", "a key stands twice in one table"
    UNKNOWN_KEY = "unknown-key", "nothing is called so here; mostly a typo"
    MISPLACED_KEY = "misplaced-key", "a key that belongs elsewhere"
    MISSING_KEY = "missing-key", "a key that must stand here does not"
    CONFLICTING_KEYS = "conflicting-keys", "two keys that cannot stand together"
    WRONG_TYPE = "wrong-type", "a list, a table, a text or a number where another of these must stand"
    UNKNOWN_WORD = "unknown-word", "a value that is none of the words that can stand here"
    BAD_VALUE = (
        "bad-value",
        "a value that cannot be read: a duration, a rate, a window, a locator and the like",
    )
    BAD_MATCHER = "bad-matcher", "a matcher that is not Alertmanager's, or whose regex is not one of RE2"
    BAD_TEMPLATE = "bad-template", "a template that cannot be read, or asks for what cannot stand there"
    MISPLACED_SECRET = "misplaced-secret", "a secret where it would be seen"
    # names
    DUPLICATE_NAME = "duplicate-name", "two rules of a pack, or two packs, have one name"
    UNKNOWN_ACTION = "unknown-action", "a step names no action"
    UNKNOWN_PROBE = "unknown-probe", "an entry names no probe"
    UNKNOWN_VAR = "unknown-var", "a template names no var"
    UNKNOWN_SECRET = "unknown-secret", "a template names no secret of the pack"
    UNKNOWN_CONTACT = "unknown-contact", "nobody is called so, in the pack or in the site"
    UNKNOWN_MESSAGE = "unknown-message", "an escalation names no message"
    UNKNOWN_RULE = "unknown-rule", "`yield_to` names no rule"
    # what belongs together
    UNSET_SECRET = "unset-secret", "a secret has no value in the environment"
    BAD_ADDRESS = "bad-address", "the address of a contact cannot be used"
    NEVER_MATCHES = "never-matches", "matchers that exclude each other: the rule waits for no alert at all"
    YIELD_CYCLE = "yield-cycle", "rules wait for each other, or one for itself: none of them would act"
    UNAPPROVED = "unapproved", "a destructive step in a rung that nobody must approve"
    TIMING = "timing", "durations that cannot be kept together, such as after + for longer than within"
    LAST_RUNG = "last-rung", "the last rung goes on, and nothing comes after it"
    BAD_ESCALATION = "bad-escalation", "an entry of `escalate` that contradicts itself"
    BAD_LIMIT = "bad-limit", "a guard whose numbers contradict each other"
    # around the rules
    BAD_VAR = "bad-var", "a var that is no plain text"
    BAD_PACKAGE = "bad-package", "an installed package of probes or actions cannot be used"


class Odd(Code):
    """What loads, and a person should think about."""

    NO_DEFAULT_CONTACT = "no-default-contact", "nobody hears when automation gives up"
    UNSET_CONTACT = "unset-contact", "a contact has no address in the environment"
    UNUSED_VAR = "unused-var", "a var was given that no rule has"
    UNSEEN_RULE = "unseen-rule", "a rule of another part of the directory, which was not loaded"
    OVERLAP = "overlap", "two rules can act on the same alert"
    UNKNOWN_ALERT = "unknown-alert", "a rule waits for an alert that the pack's alerting rules do not have"
    UNTAKEN_ALERT = "untaken-alert", "no rule takes an alert of the pack's alerting rules"
    REPEATED_RUNG = "repeated-rung", "two rungs have one name: a flap could start at the wrong one"
    UNREACHABLE_RUNG = "unreachable-rung", "a rung below one that always succeeds"
    HARSH_FIRST = "harsh-first", "what cannot be taken back stands above what is gentler"
    SWAP_BACK = "swap-back", "recovery would put the bad state back in the place of the good one"
    SMALL_BUDGET = "small-budget", "the budget ends in the middle of the ladder"
    FOREIGN_LABEL = "foreign-label", "a step uses a label that the target does not tell apart"
    MISSPELT_LABEL = "misspelt-label", "a template asks for a label that is nearly one that alerts have"
    CONTRADICTORY_PROBES = "contradictory-probes", "two probes of a list that are never healthy together"
    STALE_QUERY = "stale-query", "a query that is asked before its answer can tell of the step"
    SHORT_HOLD = "short-hold", "the stability period is over before its probes can see any"
    SHORT_COOLDOWN = "short-cooldown", "the pause is over while the alert still tells of what was before"
    SHORT_FLAP_WINDOW = "short-flap-window", "the alert cannot fire again in time to be seen as a flap"
    IDLE_ESCALATION = "idle-escalation", "an escalation waits for what never happens to its rule"
    SECRET_IN_YAML = "secret-in-yaml", "a password, a token or a key stands in a file in clear text"
    WORLD_WRITABLE = "world-writable", "everybody on the machine may change what is run"
    UNVERIFIED = "unverified", "a rung acts, and no probe looks whether it helped"
    MASKED_RECOVERY = (
        "masked-recovery",
        "the mitigation may end its own alert, and nothing else proves the cause gone",
    )
    SHORT_LEASE = "short-lease", "the lease ends before anything can be taken back"
    NO_LIMIT = "no-limit", "a limit that holds nothing back"
    NEVER_ACTS = "never-acts", "a guard that refuses always"
    SILENT_CLOCK = "silent-clock", "a clock that stands still from its start"
    UNUSED_ALLOW = "unused-allow", "a comment allows what is not there, or cannot be allowed"
    BARE_ALLOW = "bare-allow", "a comment allows something, and does not say why"
    UNHEARD = "unheard", "a contact that could only hear the end of what it was not told"
