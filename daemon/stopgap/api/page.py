"""Page: what a signed link shows: a small page of HTML without script and without anything from elsewhere.

Label values are hostile: every value is escaped by the template engine, and what is not printable is shown as an escape before
that, so that no value can turn the reading direction or forge a line.
"""

from typing import Any

from aiohttp import web
from jinja2 import Environment, StrictUndefined

LONGEST = 2000  # characters of one value
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    ),
}


def _printable(value: Any) -> str:
    text = str(value)[:LONGEST]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


_HTML = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.4rem }
dt { font-weight: bold; margin-top: .5rem }
dd { margin: 0 }
li { font-family: ui-monospace, monospace }
form { border: 1px solid; border-radius: .4rem; padding: 1rem; margin: 1rem 0 }
label { display: block; margin-bottom: .7rem }
input { font: inherit; display: block; width: 100%; box-sizing: border-box; padding: .4rem }
button { font: inherit; font-weight: bold; padding: .5rem 1.2rem }
</style>
<h1>{{ title }}</h1>
{% if said %}<p>{{ said }}</p>
{% endif %}{% if facts %}<dl>
{% for word, value in facts if value %}<dt>{{ word }}</dt><dd>{{ value }}</dd>
{% endfor %}{% if runbook %}<dt>runbook</dt><dd><a href="{{ runbook }}" rel="noreferrer noopener">{{ runbook }}</a></dd>
{% endif %}</dl>
{% endif %}{% if asked %}<h2>What will be done</h2>
<ol>
{% for step in asked.steps %}<li>{{ step }}</li>
{% endfor %}</ol>
<h2>What must hold afterwards</h2>
<ul>
{% for question in asked.verify %}<li>{{ question }}</li>
{% else %}<li>nothing is verified</li>
{% endfor %}</ul>
{% if asked.undo %}<h2>How it is undone</h2>
<ul>
{% for line in asked.undo %}<li>{{ line }}</li>
{% endfor %}</ul>
{% endif %}{% endif %}{% if forms %}<form method="post" accept-charset="utf-8">
<input type="hidden" name="answer" value="approve">
<label>Your name <input name="name" required maxlength="64" autocomplete="name"></label>
<label>Reason (if you like) <input name="why" maxlength="500"></label>
<button>Approve: do it</button>
</form>
<form method="post" accept-charset="utf-8">
<input type="hidden" name="answer" value="deny">
<label>Your name <input name="name" required maxlength="64" autocomplete="name"></label>
<label>Reason <input name="why" required maxlength="500"></label>
<button>Deny: do nothing</button>
</form>
<p>No answer counts as no.</p>
{% endif %}</html>
"""

_page = Environment(autoescape=True, undefined=StrictUndefined, finalize=_printable).from_string(_HTML)


def page(status: int, title: str, said: str = "", **shown: Any) -> web.Response:
    """Return a page. `shown` may have `facts` (pairs), `runbook` (a web address), `asked` (a request) and `forms`."""
    told = {"facts": (), "runbook": "", "asked": None, "forms": False, **shown}
    text = _page.render(title=title, said=said, **told)
    return web.Response(status=status, text=text, content_type="text/html", headers=HEADERS)
