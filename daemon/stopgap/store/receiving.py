"""Receiving: many sightings in one pass, with look-ups and inserts in bulk.

The pass reads in chunks what it may need, decides sighting by sighting in memory, and writes what changed; when nothing changed it
writes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, select

from stopgap.incident import Event
from stopgap.journal import Sighting
from stopgap.opening import (
    Predecessor,
    drill_of,
    first_rung,
    flaps,
    followed,
    identifier,
    joined,
    opened,
    refired,
    resolved,
)
from stopgap.store import schema
from stopgap.store.batch import Batch
from stopgap.store.dialect import chunks, upsert
from stopgap.store.rows import decode, instant, micros
from stopgap.store.statement import Statement

Place = tuple[str, str]  # rule, target
Key = tuple[str, str]  # fingerprint, rule

_incident, _episode = schema.incident.c, schema.episode.c
_EPISODES = Statement(
    select(
        _episode.fingerprint,
        _episode.rule,
        _episode.incident,
        _episode.firing,
        _episode.served,
        _incident.seq,
    )
    .join_from(schema.episode, schema.incident)
    .where(_episode.fingerprint.in_(bindparam("some", expanding=True))),
    some="some",
)
_LIVE = Statement(
    select(_incident.rule, _incident.target, _incident.id, _incident.seq).where(
        _incident.closed_at.is_(None), _incident.target.in_(bindparam("some", expanding=True))
    ),
    some="some",
)
_PREDECESSORS = Statement(
    select(
        _incident.rule,
        _incident.target,
        _incident.id,
        _incident.opened_at,
        _incident.reverted_at,
        _incident.helped,
        _incident.flaps,
        _incident.used,
        _incident.drill,
    )
    .where(
        _incident.reverted_at >= bindparam("since"), _incident.target.in_(bindparam("some", expanding=True))
    )
    .order_by(_incident.reverted_at, _incident.number),
    some="some",
)
_TAKEN = Statement(
    select(_incident.id).where(_incident.id.in_(bindparam("some", expanding=True))), some="some"
)
_OPEN = Statement(
    schema.incident.insert().inline(),
    columns=(
        "id",
        "rule",
        "version",
        "target",
        "severity",
        "mode",
        "seq",
        "opened_at",
        "outcome",
        "rung",
        "follows",
        "flaps",
        "drill",
    ),
)
_ADVANCE = Statement(
    schema.incident.update().where(_incident.id == bindparam("of")).values(seq=bindparam("reached"))
)
_KEEP = Statement(
    upsert(schema.episode, "incident", "firing", "served"),
    columns=("fingerprint", "rule", "incident", "firing", "served"),
)
_FORGET = Statement(
    schema.episode.delete().where(
        _episode.fingerprint == bindparam("whose"), _episode.rule == bindparam("under")
    )
)


@dataclass(slots=True)
class _Episode:
    incident: str
    firing: bool = True
    served: bool = False


@dataclass(slots=True)
class _Pass:
    """What is known and what changed in one pass."""

    batch: Batch
    episodes: dict[Key, _Episode] = field(default_factory=dict)
    live: dict[Place, str] = field(default_factory=dict)
    seqs: dict[str, int] = field(default_factory=dict)
    predecessors: dict[Place, Predecessor] = field(default_factory=dict)
    fresh: dict[Place, str] = field(default_factory=dict)  # ids for those that may have to be opened
    opened: dict[str, dict[str, Any]] = field(default_factory=dict)
    advanced: set[str] = field(default_factory=set)
    touched: set[Key] = field(default_factory=set)

    # --- reading ---

    def look_up(self, sightings: Sequence[Sighting]) -> None:
        """Read all that the decisions can need."""
        for chunk in chunks({s.fingerprint for s in sightings}):
            for fingerprint, rule, incident, firing, served, seq in self._read(_EPISODES, chunk):
                self.episodes[fingerprint, rule] = _Episode(incident, bool(firing), bool(served))
                self.seqs[incident] = seq
        homeless = [s for s in sightings if s.firing and self._has_no_live_episode(s)]
        if not homeless:
            return
        for chunk in chunks({s.target for s in homeless}):
            for rule, target, incident, seq in self._read(_LIVE, chunk):
                self.live[rule, target] = incident
                self.seqs[incident] = seq
        places = {(s.rule, s.target): s for s in homeless if (s.rule, s.target) not in self.live}
        if places:
            self._look_back(list(places.values()))
            self._number(places)

    def _has_no_live_episode(self, sighting: Sighting) -> bool:
        episode = self.episodes.get((sighting.fingerprint, sighting.rule))
        return episode is None or episode.served

    def _look_back(self, sightings: list[Sighting]) -> None:
        since = min(micros(s.at - s.flap_window) for s in sightings)
        for chunk in chunks({s.target for s in sightings}):
            for rule, target, *rest in self._read(_PREDECESSORS, chunk, since=since):
                incident, opened_at, reverted_at, helped, count, used, drill = rest
                self.predecessors[rule, target] = Predecessor(
                    incident,
                    instant(opened_at),
                    instant(reverted_at),
                    helped,
                    count,
                    tuple(decode(used)),
                    drill,
                )

    def _number(self, places: dict[Place, Sighting]) -> None:
        """Draw an id for each, and draw again for those that exist."""
        drawn: set[str] = set()
        left = list(places)
        while left:
            candidates: dict[str, Place] = {}
            for place in left:
                name = identifier(places[place].at)
                if name not in drawn:
                    candidates[name] = place
                    drawn.add(name)
            for chunk in chunks(list(candidates)):
                for (taken,) in self._read(_TAKEN, chunk):
                    del candidates[taken]
            self.fresh |= {place: name for name, place in candidates.items()}
            left = [place for place in left if place not in self.fresh]

    def _read(self, statement: Statement, some: Sequence[str], **more: Any) -> Iterable[Any]:
        return statement.rows(self.batch.connection, {"some": some, **more})

    # --- deciding ---

    def take(self, sighting: Sighting) -> None:
        """Decide what one sighting changes."""
        key = (sighting.fingerprint, sighting.rule)
        episode = self.episodes.get(key)
        if sighting.firing:
            if episode is None:
                self.episodes[key] = _Episode(self._join_or_open(sighting))
            elif episode.served or episode.firing:
                return
            else:
                episode.firing = True
                self._append(episode.incident, refired(sighting))
        elif episode is None:
            return
        elif episode.served:
            del self.episodes[key]
        elif episode.firing:
            episode.firing = False
            self._append(episode.incident, resolved(sighting))
        else:
            return
        self.touched.add(key)

    def _append(self, incident: str, event: Event, *, plain: bool = True) -> None:
        self.seqs[incident] += 1
        self.batch.record(incident, event, self.seqs[incident], plain=plain)
        self.advanced.add(incident)

    def _join_or_open(self, sighting: Sighting) -> str:
        place = (sighting.rule, sighting.target)
        if place in self.live:
            incident = self.live[place]
            self._append(incident, joined(sighting))
            return incident
        incident = self.live[place] = self.fresh[place]
        follows = followed(sighting, self.predecessors.get(place))
        self.seqs[incident] = 1
        self.batch.record(incident, opened(sighting, follows), 1, plain=True)
        for event in sighting.then:
            self._append(incident, event, plain=False)
        self.opened[incident] = _row(incident, sighting, follows)
        return incident

    # --- writing ---

    def write(self) -> None:
        """Write what changed, each kind in one statement."""
        if not self.touched:
            return
        self.batch.written = True
        rows = [{**row, "seq": self.seqs[incident]} for incident, row in self.opened.items()]
        kept = [self._episode_row(key) for key in self.touched if key in self.episodes]
        gone = [{"whose": key[0], "under": key[1]} for key in self.touched if key not in self.episodes]
        moved = [{"of": name, "reached": self.seqs[name]} for name in self.advanced - self.opened.keys()]
        for statement, parameters in ((_OPEN, rows), (_KEEP, kept), (_FORGET, gone), (_ADVANCE, moved)):
            if parameters:
                statement.each(self.batch.connection, parameters)

    def _episode_row(self, key: Key) -> dict[str, Any]:
        episode = self.episodes[key]
        return {
            "fingerprint": key[0],
            "rule": key[1],
            "incident": episode.incident,
            "firing": episode.firing,
            "served": episode.served,
        }


def _row(incident: str, sighting: Sighting, follows: Predecessor | None) -> dict[str, Any]:
    return {
        "id": incident,
        "rule": sighting.rule,
        "version": sighting.version,
        "target": sighting.target,
        "severity": str(sighting.severity),
        "mode": str(sighting.mode),
        "opened_at": micros(sighting.at),
        "outcome": "",
        "rung": first_rung(sighting, follows),
        "follows": follows.id if follows else "",
        "flaps": flaps(sighting, follows),
        "drill": drill_of(sighting),
    }


def receive(batch: Batch, sightings: Sequence[Sighting]) -> None:
    """Make what these sightings change part of the batch."""
    work = _Pass(batch)
    work.look_up(sightings)
    for sighting in sightings:
        work.take(sighting)
    work.write()
