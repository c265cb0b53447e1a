"""Incidents on the command line: seeing them, and giving orders to one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from stopgap.cli.client import URL, AsJson, Client, Url, Why, find, person
from stopgap.cli.screen import clean, fits, show_json, table, wrapped

Data = Annotated[
    Path | None,
    typer.Option("--data", help="The directory of a stopped daemon, instead of asking a running one."),
]
Identifier = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="An incident; a unique beginning or end of its id will do.", show_default=False
    ),
]
PATH = "/api/v1/incidents"


def incidents(
    identifier: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Show this one with its timeline.")
    ] = None,
    phase: Annotated[str | None, typer.Option(help="Only these: open, waiting, mitigated, closed, …")] = None,
    rule: Annotated[str | None, typer.Option(help="Only those of this rule (pack/name).")] = None,
    target: Annotated[str | None, typer.Option(help="Only those of this target.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    data: Data = None,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Show incidents, live ones first, or one with its timeline."""
    from stopgap.cli import stopped

    if identifier is not None:
        client = Client(url)
        told = stopped.one(data, identifier) if data else client.get(f"{PATH}/{find(client, identifier)}")
        show_json(told) if as_json else _one(told)
        return
    wanted = {"phase": phase, "rule": rule, "target": target}
    if data is not None:
        rows = stopped.listing(data, **wanted)[:limit]
    else:
        rows = Client(url).get(PATH, {**wanted, "limit": limit})["incidents"]
    show_json(rows) if as_json else _listing(rows)


def ack(identifier: Identifier, why: Why = "", url: Url = URL, as_json: AsJson = False) -> None:
    """Say that you have seen an incident."""
    _order("ack", identifier, url, {"why": why}, as_json=as_json)


def revert(identifier: Identifier, why: Why, url: Url = URL, as_json: AsJson = False) -> None:
    """Take a mitigation back now, whatever the alerts say; passes the brake."""
    _order("revert", identifier, url, {"why": why}, as_json=as_json)


def extend(
    identifier: Identifier,
    for_: Annotated[str, typer.Option("--for", help="How much longer, such as 2h.", show_default=False)],
    why: Why,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Let the lease of a mitigation end later."""
    _order("extend", identifier, url, {"why": why, "for": for_}, as_json=as_json)


def note(
    identifier: Identifier,
    text: Annotated[str, typer.Argument(help="What those should know who read the timeline later.")],
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """Write something down in the timeline of an incident."""
    _order("note", identifier, url, {"text": text}, as_json=as_json)


def done(identifier: Identifier, why: Why = "", url: Url = URL, as_json: AsJson = False) -> None:
    """Say that you have done by hand what the incident waits for: its ladder goes on."""
    _order("done", identifier, url, {"why": why}, as_json=as_json)


def retry(identifier: Identifier, why: Why, url: Url = URL, as_json: AsJson = False) -> None:
    """Give an incident that was handed over back to automation, where its ladder stands; the guards count."""
    _order("retry", identifier, url, {"why": why}, as_json=as_json)


def adopt(identifier: Identifier, why: Why, url: Url = URL, as_json: AsJson = False) -> None:
    """Let an incident act that was held in shadow, because it or its rule was new."""
    _order("adopt", identifier, url, {"why": why}, as_json=as_json)


def close(
    identifier: Identifier,
    why: Why,
    keep: Annotated[bool, typer.Option("--keep", help="Leave what is held in place for good.")] = False,
    url: Url = URL,
    as_json: AsJson = False,
) -> None:
    """End an incident; repeats of its alerts open nothing until they are over."""
    _order("close", identifier, url, {"why": why, "keep": keep}, as_json=as_json)


def _order(order: str, identifier: str, url: str, body: dict[str, object], *, as_json: bool) -> None:
    client = Client(url)
    told = client.send("POST", f"{PATH}/{find(client, identifier)}/{order}", {**body, "by": person()})
    if as_json:
        show_json(told)
    else:
        typer.echo(f"{order}: {clean(told['id'])} is {standing(told)}")


def standing(row: dict[str, Any]) -> str:
    """Say in which phase an incident is, and why."""
    said = row["outcome"] or row["reason"]
    words = f"{row['phase']} ({said})" if said else str(row["phase"])
    return clean(f"{words}, handed over" if row["handed_over"] and row["phase"] != "closed" else words)


def _listing(rows: list[dict[str, Any]]) -> None:
    if not rows:
        typer.echo("no incidents")
        return
    heads = ("INCIDENT", "SEV", "AGE", "STANDS", "RULE", "TARGET")
    cells = [(row["id"], row["severity"], _age(row), _brief(row), row["rule"], row["target"]) for row in rows]
    if not fits(heads, cells):
        names = _short([row["id"] for row in rows])
        cells = [(name, *cell[1:]) for name, cell in zip(names, cells, strict=True)]
    table(heads, cells, whole=4)


def _short(ids: list[str]) -> list[str]:
    """Return the ends of ids, by which every command knows them; the ids themselves where an end means two of them."""
    ends = [identifier.rpartition("-")[2] or identifier for identifier in ids]
    return ends if len({*ends}) == len(ids) else ids


def _brief(row: dict[str, Any]) -> str:
    """Say in words that fit into a column what a person must see first."""
    if not row["drill"]:
        return _stands(row)
    return f"DRILL: {row['outcome'] or _stands(row)}"  # short: beside it stand the rule and the target


def _stands(row: dict[str, Any]) -> str:
    asked = row["approval"]
    if asked and asked["answer"] == "pending":
        return "needs approval"
    if row["by_hand"]:
        return "needs a person"
    if row["handed_over"] and row["phase"] != "closed":
        return "handed over"
    return str(row["reason"]) if row["phase"] == "waiting" and row["reason"] else standing(row)


def _age(row: dict[str, Any]) -> str:
    """Say how long ago it opened, in the largest unit."""
    from datetime import UTC, datetime

    from stopgap.duration import print_duration

    age = datetime.now(UTC) - datetime.fromisoformat(row["opened_at"])
    text = print_duration(age)
    return (
        text[: next(i for i, char in enumerate(text) if char.isalpha()) + 1]
        if age.total_seconds() >= 1
        else "0s"
    )


def _one(told: dict[str, Any]) -> None:
    typer.echo(f"{clean(told['id'])}  {clean(told['severity'])}  {standing(told)}")
    for head in ("rule", "target", "mode", "drill", "follows", "acknowledged_by", "lease_until"):
        if told[head]:
            wrapped(f"  {head.replace('_', ' '):<16}", told[head])
    for alert in told["alerts"][:20]:
        labels = ", ".join(f"{name}={value}" for name, value in alert["labels"].items())
        wrapped(f"  {'firing' if alert['firing'] else 'resolved':<16}", labels)
    if told["approval"]:
        wrapped(f"  {'approval':<16}", _approval(told["approval"]))
    if told["by_hand"]:
        wrapped(f"  {'by hand':<16}", "waits for you: do it, then say `stopgap done`")
    for held in told["held"]:
        wrapped(f"  {'held':<16}", ", ".join(held["resources"]))
    typer.echo("")
    for line in told["timeline"]:
        wrapped(f"{clean(line['at'])[11:19]} {clean(line['event']):<16}", in_words(line))


def _approval(asked: dict[str, Any]) -> str:
    if asked["answer"] == "pending":
        return f"waits until {asked['until']} for `stopgap approve` or `stopgap deny`"
    return f"{asked['answer']} by {asked['by']}" + (f": {asked['why']}" if asked["why"] else "")


_NAMES = ("name", "action", "probe", "fingerprint", "contact", "when")
_REASONS = ("outcome", "cause", "reason", "verdict", "detail", "text", "why")


def _until(line: dict[str, Any]) -> str:
    """Write when something ends: the time, and the day where it is another one than that of the line."""
    until, at = str(line["until"]), str(line.get("at", ""))
    return f"{until[11:19]}Z" if until[:10] == at[:10] else f"{until[:10]} {until[11:19]}Z"


def in_words(line: dict[str, Any]) -> str:
    """Say a timeline event in words, most telling first."""
    said = dict(line)
    if said.get("text"):
        said.pop("action", None)  # the text names it
    words = [str(said[key]) for key in (*_NAMES, *_REASONS) if said.get(key)]
    words += [f"until {_until(line)}"] if line.get("until") else []
    if line.get("role") in ("revert", "reactivate"):
        words.insert(0, f"({line['role']})")
    if line.get("verified") is False:
        words.append("not verified")
    if "seconds" in line:
        words.append(f"{float(line['seconds']):.2f} s")
    words += [f"by {line['by']}"] if line.get("by") else []
    words += [f"do by hand: {undo}" for undo in line.get("undo") or ()]
    if line.get("event") in ("approval_requested", "shadow_planned"):
        words += [f"would do: {step}" for step in line.get("steps") or ()]
        words += [f"probe {key} is {said}" for key, said in (line.get("probes") or {}).items()]
        words += [
            f"rung '{rung['name']}' skipped: {rung['skipped']}"
            for rung in line.get("ladder") or ()
            if rung.get("skipped")
        ]
        words += [f"but refused: {line['refusal']}"] if line.get("refusal") else []
    return ", ".join(words)
