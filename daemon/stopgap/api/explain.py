"""Explain over HTTP: why it would act on an alert, or why it did not; nothing is changed and nothing is journaled."""

from aiohttp import web

from stopgap import view
from stopgap.alert import Alert, BadAlert, read_alert
from stopgap.api.desk import DESK, Desk
from stopgap.api.problem import Problem, reply
from stopgap.api.said import Explain, read
from stopgap.explain import alert_with
from stopgap.orders import NoSuchIncident


async def explain(request: web.Request) -> web.Response:
    """Answer what the daemon would do, or does, and why."""
    desk, said = request.app[DESK], await read(request, Explain)
    if said.incident is not None:
        found = await desk.explainer.incident(said.incident)
        if found is None:
            raise NoSuchIncident(f"no incident {said.incident[:64]}")
        return reply(view.explanation(found))
    return reply(view.explanation(await desk.explainer.alerts(_alerts(desk, said), nearest=said.nearest)))


def _alerts(desk: Desk, said: Explain) -> list[Alert]:
    """Read the alerts as the webhook does. Raises Problem."""
    if said.alerts is None:
        read_ones = [alert_with(said.labels or {}, desk.clock.now())]
    else:
        read_ones = [read_alert(raw) for raw in said.alerts]
    wrong = tuple(f"alerts[{i}]: {one}" for i, one in enumerate(read_ones) if isinstance(one, BadAlert))
    if wrong:
        raise Problem(400, "the webhook would not take this alert", wrong)
    return [one for one in read_ones if isinstance(one, Alert)]


ROUTES = (web.post("/api/v1/explain", explain),)
