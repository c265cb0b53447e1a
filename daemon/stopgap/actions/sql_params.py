"""Sql's parameters: where, which statements, with which values, within which bound, and how they are taken back."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints, model_validator

from stopgap.action import Params, Text, reveal
from stopgap.backends import log_in
from stopgap.backends.database import Database
from stopgap.backends.dsn import Login
from stopgap.backends.statement import Kind, Statement, parse_statement

MOST_SAVED = 5000  # rows


def _one_or_many(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


def _statements(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        parse_statement(text)
    return texts


def _runs_sql(at: Text) -> Text:
    log_in(at, None, Database)  # type: ignore[type-abstract]
    return at


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_One = Annotated[str, Field(min_length=1)]
Statements = Annotated[
    tuple[_One, ...],
    BeforeValidator(_one_or_many, json_schema_input_type=_One | tuple[_One, ...]),
    Field(min_length=1, max_length=20),
    AfterValidator(_statements),
]
Keys = Annotated[
    tuple[Name, ...],
    BeforeValidator(_one_or_many, json_schema_input_type=Name | tuple[Name, ...]),
    Field(max_length=8),
]


class SqlParams(Params):
    """Where, what, with which values, how much at most, and how it is taken back."""

    fixed = frozenset({"statement", "max_rows", "save", "observe", "revert"})

    at: Annotated[
        Text,
        AfterValidator(_runs_sql),
        Field(
            description="Where: sqlite:///path, postgres://user@host:port/database, mysql://user@host:port/database."
        ),
    ]
    password: Annotated[Text | None, Field(description="The password of the user; a secret.")] = None
    statement: Annotated[
        Statements,
        Field(
            description="One statement, or a list that is done whole or not at all; `:name` stands for a value."
        ),
    ]
    values: Annotated[
        Mapping[Name, Text | int | float | bool | None],
        Field(description="The values of the names; the only place for labels."),
    ] = Field(default_factory=dict)
    max_rows: Annotated[
        int | None,
        Field(ge=1, le=1_000_000, description="How many rows may be changed in all; more, and none is."),
    ] = None
    save: Annotated[
        Keys,
        Field(description="The key column (or a list) of the rows that are kept first and put back later."),
    ] = ()
    observe: Annotated[
        str | None,
        Field(description="A SELECT that shows what the statement changes, for what is no row of its own."),
    ] = None
    revert: Annotated[
        Statements | None,
        Field(
            description="What takes it back, done for each row that `observe` returned; `:column` is its value."
        ),
    ] = None
    idempotent: Annotated[
        bool | None,
        Field(
            description="Whether a second time does no harm; by default if rows are saved, and for upkeep."
        ),
    ] = None

    @property
    def parsed(self) -> tuple[Statement, ...]:
        """Return the statements."""
        return tuple(map(parse_statement, self.statement))

    @property
    def together(self) -> bool:
        """Tell whether the statements are one transaction."""
        return self.parsed[0].transactional

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        _together(self.parsed)
        if self.revert:
            _together(tuple(map(parse_statement, self.revert)))
        writes = [each for each in self.parsed if each.transactional and each.kind is not Kind.READ]
        if writes and self.max_rows is None:
            raise ValueError(f"{writes[0].verb.upper()} has no bound: add max_rows")
        return self

    @model_validator(mode="after")
    def _can_put_back(self) -> Self:
        if self.save and (self.observe or self.revert):
            raise ValueError("write either save, or observe and revert")
        if self.save:
            if len(self.parsed) > 1 or (self.max_rows or 0) > MOST_SAVED:
                raise ValueError(
                    f"save keeps the rows of one statement, at most {MOST_SAVED}: write one step for each"
                )
            change = self.parsed[0].change
            if set(map(str.lower, self.save)) & {
                re.sub(r'["`]', "", each).lower() for each in change.columns
            }:
                raise ValueError(
                    f"the statement sets {', '.join(self.save)}, so its rows cannot be found again by it"
                )
        if self.observe is not None and parse_statement(self.observe).kind is not Kind.READ:
            raise ValueError("observe is no SELECT: write one")
        return self

    @model_validator(mode="after")
    def _has_its_values(self) -> Self:
        asked = {
            name for each in (*self.statement, self.observe) if each for name in parse_statement(each).names
        }
        back = {name for each in self.revert or () for name in parse_statement(each).names}
        lacking = asked if self.observe else asked | back
        if missing := sorted(lacking - set(self.values)):
            raise ValueError(f":{missing[0]} has no value: add it to values")
        if idle := sorted(set(self.values) - asked - back):
            raise ValueError(f"no statement has :{idle[0]}: remove it from values")
        return self

    @property
    def login(self) -> Login[Database]:
        """Return the database, and the password."""
        return log_in(self.at, self.password, Database)  # type: ignore[type-abstract]

    @property
    def where(self) -> str:
        """Name the database to people; nothing of an address that is a secret."""
        return "***" if isinstance(self.at, SecretStr) else self.login.place.name

    def bound(self) -> dict[str, Any]:
        """Return the values, bare: only to be given to the database."""
        return {name: reveal(v) if isinstance(v, SecretStr) else v for name, v in self.values.items()}


def _together(statements: tuple[Statement, ...]) -> None:
    if len({each.transactional for each in statements}) > 1:
        alone = next(each for each in statements if not each.transactional)
        raise ValueError(
            f"{alone.verb.upper()} cannot be one of a transaction: write a step of its own for it"
        )
