"""Statements of hot paths: the words that SQLAlchemy writes, put straight to the driver."""

import pytest
from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text, bindparam, create_engine, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from stopgap.store.statement import Statement

thing = Table(
    "thing",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("old", Boolean, nullable=False, server_default="0"),
)
PUT = Statement(thing.insert().inline(), columns=("name", "count"))
SOME = select(thing.c.name).where(
    thing.c.count > bindparam("above"), thing.c.name.in_(bindparam("some", expanding=True))
)
FIND = Statement(SOME.order_by(thing.c.name).limit(100), some="some")
RAISE = Statement(thing.update().where(thing.c.name == bindparam("of")).values(count=bindparam("reached")))


@pytest.fixture
def connection():
    engine = create_engine("sqlite://", poolclass=StaticPool, hide_parameters=True)
    with engine.connect() as connection:
        thing.create(connection)
        yield connection
    engine.dispose()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 17])
def test_an_in_of_any_size_finds_what_is_there_and_nothing_else(connection, count):
    names = [f"n{i:02}" for i in range(count)]
    PUT.each(connection, [{"name": name, "count": 1} for name in [*names, "other"]])
    assert FIND.rows(connection, {"some": names, "above": 0}) == [(name,) for name in names]
    assert FIND.rows(connection, {"some": ["gone"], "above": 0}) == []
    assert FIND.rows(connection, {"some": names, "above": 1}) == []


def test_few_wordings_serve_all_sizes(connection):
    find = Statement(SOME, some="some")
    for size in range(1, 300):
        find.rows(connection, {"some": [f"n{i}" for i in range(size)], "above": 0})
    assert len(find._wordings) == 10


def test_a_change_says_how_many_rows_it_hit(connection):
    PUT.do(connection, {"name": "a", "count": 1})
    assert RAISE.do(connection, {"of": "a", "reached": 5}) == 1
    assert RAISE.do(connection, {"of": "b", "reached": 5}) == 0
    assert FIND.rows(connection, {"some": ["a"], "above": 4}) == [("a",)]


def test_a_statement_without_parameters_asks_for_everything(connection):
    PUT.do(connection, {"name": "a", "count": 1})
    assert Statement(select(thing.c.name, thing.c.old)).rows(connection, {}) == [("a", 0)]


def test_an_error_is_the_databases_own_and_hides_what_was_written(connection):
    PUT.do(connection, {"name": "secret", "count": 1})
    for put in (
        lambda: PUT.do(connection, {"name": "secret", "count": 1}),
        lambda: PUT.each(connection, [{"name": "secret", "count": 2}]),
    ):
        with pytest.raises(DBAPIError) as error:
            put()
        assert "UNIQUE constraint failed" in str(error.value.orig)
        assert "secret" not in str(error.value)


def test_postgresql_is_given_its_own_words_and_names():
    wording = FIND._worded(postgresql.psycopg.dialect(), 2)
    assert "%(some_1)s" in wording.text
    assert "%(above)s" in wording.text
    assert wording.some == ("some_1", "some_2")
    assert wording.fixed == {"param_1": 100}
    assert wording.pack({"above": 1}) == {"above": 1}
    assert "RETURNING" not in PUT._worded(postgresql.psycopg.dialect(), 0).text
