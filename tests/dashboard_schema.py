"""Dashboard schema: what Grafana 10 and later import of a dashboard, as far as `deploy/grafana-dashboard.json` uses it.

Written after Grafana's own model (`Dashboard` and the options of each panel in `@grafana/schema` 10.0). It is closed: a key that
is not here is either a slip, which Grafana would pass over in silence, or something of one site (`uid`, `gnetId`, …).
"""

from typing import Any

from jsonschema import Draft202012Validator

TEXT = {"type": "string", "minLength": 1}
WHOLE = {"type": "integer", "minimum": 0}
YES_NO = {"type": "boolean"}
COLOR = {
    "enum": ["green", "super-light-green", "red", "orange", "yellow", "blue", "purple", "text", "transparent"]
}
DATASOURCE = {"const": {"type": "prometheus", "uid": "${datasource}"}}
"""No uid of a data source that exists somewhere: who imports it chooses one."""


def closed(needed: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of an object with these keys and no others; `more` may be absent."""
    keys = {"properties": needed | more, "required": [*needed], "additionalProperties": False}
    return {"type": "object", **keys}


def many(items: dict[str, Any], least: int = 1) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least}


MAPPED = closed({"index": WHOLE, "text": TEXT, "color": COLOR})
MAPPING = {
    "oneOf": [
        closed(
            {
                "type": {"const": "value"},
                "options": {"type": "object", "additionalProperties": MAPPED, "minProperties": 1},
            }
        ),
        closed(
            {
                "type": {"const": "special"},
                "options": closed(
                    {"match": {"enum": ["null", "nan", "null+nan", "true", "false"]}, "result": MAPPED}
                ),
            }
        ),
    ]
}
STEP = closed({"color": COLOR, "value": {"type": ["number", "null"]}})
THRESHOLDS = closed(
    {
        "mode": {"const": "absolute"},
        "steps": many(STEP) | {"prefixItems": [{"properties": {"value": {"type": "null"}}}]},
    }
)
UNIT = {"enum": ["short", "s", "percentunit", "dateTimeAsIso", "bytes"]}
STACKING = closed({"mode": {"enum": ["none", "normal"]}, "group": TEXT})
DRAWN = {"enum": ["line", "bars"]}
CELL = closed({"type": {"enum": ["auto", "color-text"]}})
PERCENT = {"type": "integer", "minimum": 0, "maximum": 100}
CUSTOM = {
    "timeseries": closed(
        {
            "drawStyle": DRAWN,
            "lineWidth": WHOLE,
            "fillOpacity": PERCENT,
            "showPoints": {"enum": ["auto", "never"]},
            "spanNulls": YES_NO,
            "lineInterpolation": {"enum": ["linear", "stepAfter"]},
            "stacking": STACKING,
            "thresholdsStyle": closed({"mode": {"enum": ["off", "dashed"]}}),
        }
    ),
    "table": closed({"align": {"const": "auto"}, "cellOptions": CELL}),
    "state-timeline": closed({"lineWidth": WHOLE, "fillOpacity": PERCENT}),
}
PROPERTIES = {
    "unit": UNIT,
    "decimals": WHOLE,
    "color": closed({"mode": {"const": "fixed"}, "fixedColor": COLOR}),
    "mappings": many(MAPPING),
    "thresholds": THRESHOLDS,
    "custom.cellOptions": CELL,
    "custom.drawStyle": DRAWN,
    "custom.fillOpacity": PERCENT,
    "custom.stacking": STACKING,
}
OVERRIDE = closed(
    {
        "matcher": closed({"id": {"enum": ["byName", "byRegexp"]}, "options": TEXT}),
        "properties": many(
            {"oneOf": [closed({"id": {"const": name}, "value": value}) for name, value in PROPERTIES.items()]}
        ),
    }
)


def defaults(kind: str) -> dict[str, Any]:
    """Return the schema of the field defaults of a panel."""
    needed = {
        "unit": UNIT,
        "color": closed({"mode": {"enum": ["thresholds", "palette-classic"]}}),
        "thresholds": THRESHOLDS,
    }
    if kind in CUSTOM:
        needed["custom"] = CUSTOM[kind]
    return closed(needed, min={"type": "number"}, decimals=WHOLE, noValue=TEXT, mappings=many(MAPPING))


LEGEND = closed(
    {
        "displayMode": {"enum": ["list", "table"]},
        "placement": {"enum": ["bottom", "right"]},
        "showLegend": YES_NO,
        "calcs": many(TEXT, 0),
    }
)
TOOLTIP = closed({"mode": {"enum": ["single", "multi", "none"]}, "sort": {"enum": ["none", "asc", "desc"]}})
REDUCED = closed({"calcs": {"const": ["lastNotNull"]}, "fields": {"const": ""}, "values": {"const": False}})
OPTIONS = {
    "timeseries": closed({"legend": LEGEND, "tooltip": TOOLTIP}),
    "stat": closed(
        {
            "reduceOptions": REDUCED,
            "colorMode": {"enum": ["none", "value", "background"]},
            "graphMode": {"enum": ["none", "area"]},
            "justifyMode": {"enum": ["auto", "center"]},
            "orientation": {"enum": ["auto", "horizontal", "vertical"]},
            "textMode": {"enum": ["auto", "value", "value_and_name", "name", "none"]},
        }
    ),
    "bargauge": closed(
        {
            "reduceOptions": REDUCED,
            "displayMode": {"enum": ["basic", "lcd", "gradient"]},
            "orientation": {"enum": ["auto", "horizontal", "vertical"]},
            "minVizHeight": WHOLE,
            "minVizWidth": WHOLE,
            "showUnfilled": YES_NO,
            "valueMode": {"enum": ["color", "text", "hidden"]},
        }
    ),
    "table": closed(
        {
            "frameIndex": WHOLE,
            "showHeader": YES_NO,
            "cellHeight": {"enum": ["sm", "md", "lg"]},
            "sortBy": many(closed({"displayName": TEXT, "desc": YES_NO})),
        }
    ),
    "state-timeline": closed(
        {
            "mergeValues": YES_NO,
            "showValue": {"enum": ["auto", "always", "never"]},
            "alignValue": {"enum": ["left", "center", "right"]},
            "rowHeight": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "legend": LEGEND,
            "tooltip": TOOLTIP,
        }
    ),
}
GRID = closed({"x": WHOLE, "y": WHOLE, "w": {**WHOLE, "minimum": 1}, "h": {**WHOLE, "minimum": 1}})
TARGET = closed(
    {
        "refId": {"type": "string", "pattern": "^[A-Z]$"},
        "datasource": DATASOURCE,
        "expr": TEXT,
        "legendFormat": TEXT,
        "instant": YES_NO,
        "range": YES_NO,
    },
    format={"const": "table"},
)
NAMES = {"type": "object", "additionalProperties": TEXT}
TRANSFORMATION = {
    "oneOf": [
        closed({"id": {"const": "merge"}, "options": {"const": {}}}),
        closed(
            {
                "id": {"const": "organize"},
                "options": closed(
                    {
                        "excludeByName": {"type": "object", "additionalProperties": YES_NO},
                        "indexByName": {"type": "object", "additionalProperties": WHOLE},
                        "renameByName": NAMES,
                    }
                ),
            }
        ),
    ]
}
ROW = closed(
    {
        "id": WHOLE,
        "type": {"const": "row"},
        "title": TEXT,
        "collapsed": {"const": False},
        "gridPos": GRID,
        "panels": {"const": []},
    }
)


def panel(kind: str) -> dict[str, Any]:
    """Return the schema of a panel of one type."""
    return closed(
        {
            "id": WHOLE,
            "type": {"const": kind},
            "title": TEXT,
            "description": TEXT,
            "gridPos": GRID,
            "datasource": DATASOURCE,
            "targets": many(TARGET),
            "fieldConfig": closed({"defaults": defaults(kind), "overrides": many(OVERRIDE, 0)}),
            "options": OPTIONS[kind],
        },
        interval={"type": "string", "pattern": r"^\d+[smh]$"},
        transformations=many(TRANSFORMATION),
    )


NAMED = {
    "name": TEXT,
    "label": TEXT,
    "regex": {"const": ""},
    "hide": {"const": 0},
    "options": {"const": []},
    "skipUrlSync": YES_NO,
}
VARIABLE = {
    "oneOf": [
        closed(
            {
                **NAMED,
                "name": {"const": "datasource"},
                "type": {"const": "datasource"},
                "query": {"const": "prometheus"},
                "refresh": {"const": 1},
                "multi": {"const": False},
                "includeAll": {"const": False},
                "current": {"const": {}},
            }
        ),
        closed(
            {
                **NAMED,
                "type": {"const": "query"},
                "datasource": DATASOURCE,
                "query": closed({"query": TEXT, "refId": TEXT}),
                "refresh": {"const": 2},
                "sort": {"const": 1},
                "multi": {"const": True},
                "includeAll": {"const": True},
                "current": {"const": {"text": ["All"], "value": ["$__all"]}},
            }
        ),
    ]
}
REQUIRED = closed(
    {
        "type": {"enum": ["grafana", "datasource", "panel"]},
        "id": TEXT,
        "name": TEXT,
        "version": {"type": "string"},
    }
)
DASHBOARD = Draft202012Validator(
    closed(
        {
            "__inputs": {"const": []},
            "__requires": many(REQUIRED),
            "title": TEXT,
            "description": TEXT,
            "tags": many(TEXT),
            "schemaVersion": {"type": "integer", "minimum": 38},
            "version": WHOLE,
            "editable": YES_NO,
            "graphTooltip": {"enum": [0, 1, 2]},
            "timezone": {"const": "browser"},
            "refresh": TEXT,
            "time": closed({"from": TEXT, "to": TEXT}),
            "links": many({}, 0),
            "annotations": {"const": {"list": []}},
            "templating": closed({"list": many(VARIABLE)}),
            "panels": many({"oneOf": [ROW, *(panel(kind) for kind in OPTIONS)]}),
        }
    )
)
