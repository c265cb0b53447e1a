"""Approvals on the command line: seeing what would be done, and saying yes or no to exactly that."""

import sys
from typing import Annotated, Any

import typer

from stopgap.cli.client import URL, AsJson, Client, Url, Why, find, person
from stopgap.cli.incidents import PATH, Identifier, standing
from stopgap.cli.screen import WRONG_USAGE, clean, fail, show_json, wrapped

Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing once more; needed where no terminal is.")]


def approve(
    identifier: Identifier, why: Why = "", yes: Yes = False, url: Url = URL, as_json: AsJson = False
) -> None:
    """Let the steps run for which an incident waits; shows them first."""
    client = Client(url)
    path = f"{PATH}/{find(client, identifier)}"
    told = client.get(path)
    asked = _pending(told)
    if not as_json:
        show(told, asked)
    if not yes:
        _confirm()
    said = client.send("POST", f"{path}/approve", {"by": person(), "why": why, "request": asked["seq"]})
    _tell("approved", said, as_json=as_json)


def _confirm() -> None:
    """Have a person at a terminal say yes once more; where there is none, saying nothing is no yes."""
    if not sys.stdin.isatty():
        fail("not approved: no terminal to ask at; add --yes to approve it unasked", WRONG_USAGE)
    if not typer.confirm("Do this?", err=True):
        fail("not approved")


def deny(identifier: Identifier, why: Why, url: Url = URL, as_json: AsJson = False) -> None:
    """Say no to what an incident would do; it is handed over to a person."""
    client = Client(url)
    path = f"{PATH}/{find(client, identifier)}/deny"
    _tell("denied", client.send("POST", path, {"by": person(), "why": why}), as_json=as_json)


def _tell(word: str, told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
    else:
        typer.echo(f"{word}: {clean(told['id'])} is {standing(told)}")


def _pending(told: dict[str, Any]) -> dict[str, Any]:
    """Return the line of the timeline that asks; ends with 1 when nothing waits for an answer."""
    state, identifier = told["approval"], clean(told["id"])
    if state is None:
        fail(f"nothing waits for an approval: {identifier} is {standing(told)}")
    if state["answer"] != "pending":
        fail(clean(f"{told['id']} was answered already: {state['by']} said it is {state['answer']}"))
    found: dict[str, Any] = next(line for line in told["timeline"] if line["seq"] == state["request"])
    return found


def show(told: dict[str, Any], asked: dict[str, Any]) -> None:
    """Print what would be done, and what must hold afterwards."""
    typer.echo(f"{clean(told['id'])}  {clean(told['severity'])}  {standing(told)}")
    for head in ("rule", "target"):
        wrapped(f"  {head:<10}", told[head])
    wrapped(f"  {'rung':<10}", asked.get("name", ""))
    wrapped(f"  {'because':<10}", asked.get("text", ""))
    parts = (("it does", "steps"), ("verifies", "verify"), ("to undo", "undo"))
    for head, words in ((head, asked.get(key)) for head, key in parts):
        for number, each in enumerate(words or ["nothing"]):
            wrapped(f"  {head if number == 0 else '':<10}", each)
    wrapped(f"  {'until':<10}", f"{told['approval']['until']}; no answer means no")
