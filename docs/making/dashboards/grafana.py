"""Dashboards -> Grafana's JSON."""

import json
from collections.abc import Callable, Sequence

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import xychart as xy
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models
from grafana_foundation_sdk.models import xychart as xy_models

from making.dashboards.panels import Board, Look, Panel, Query, Row, Source, Unit, Variable

COLUMNS = 24
TAG = "trialbus"
_TITLES = {Source.METRICS: "Prometheus", Source.EXPERIMENTS: "Experiments (Trialbus)"}
# What is offered, by its name: the gateway looks like any Prometheus.
_NAMED = {
    Source.METRICS: "/^(?!.*trialbus experiments)/i",
    Source.EXPERIMENTS: "/trialbus experiments/i",
}
_AT_ONCE = (Look.STAT, Look.BARS, Look.TABLE, Look.POINTS)
_TABLES = (Look.TABLE, Look.POINTS)

_PanelBuilder = timeseries.Panel | stat.Panel | bargauge.Panel | table.Panel | xy.Panel


def dashboard_text(board: Board) -> str:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags([TAG])
        .timezone("browser")
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time(board.since, "now")
        .refresh(board.refresh)
        .link(_other_dashboards())
    )
    for source in board.sources:
        made.with_variable(_source_variable(source))
    for variable in board.variables:
        made.with_variable(_variable(variable))
    _place(made, board.rows)
    return json.dumps(made.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def _place(made: dashboard.Dashboard, rows: Sequence[Row]) -> None:
    """Row below row, panels from left to right as long as there is room."""
    y, number = 0, 1
    for row in rows:
        heading = models.GridPos(x=0, y=y, w=COLUMNS, h=1)
        made.with_row(dashboard.Row(row.title).id(number).grid_pos(heading))
        x, y, line_height = 0, y + 1, 0
        for panel in row.panels:
            number += 1
            if x + panel.width > COLUMNS:
                x, y, line_height = 0, y + line_height, 0
            position = models.GridPos(x=x, y=y, w=panel.width, h=panel.height)
            made.with_panel(_panel(panel).id(number).grid_pos(position))
            x, line_height = x + panel.width, max(line_height, panel.height)
        y, number = y + line_height, number + 1


def _panel(panel: Panel) -> _PanelBuilder:
    made = _MAKERS[panel.look](panel)
    made.title(panel.title).description(panel.about).datasource(_source(panel.source))
    made.unit(panel.unit.value)
    if panel.decimals is not None:
        made.decimals(panel.decimals)
    for number, query in enumerate(panel.queries):
        made.with_target(_target(panel, query, chr(ord("A") + number)))
    if panel.worse is not None or panel.bad is not None:
        made.thresholds(_thresholds(panel))
    return made


def _target(panel: Panel, query: Query, reference: str) -> prometheus.Dataquery:
    made = prometheus.Dataquery().ref_id(reference).expr(query.text).legend_format(query.legend)
    made.datasource(_source(panel.source))
    if panel.look in _TABLES:
        made.format(prometheus_models.PromQueryFormat.TABLE)
    if panel.look in _AT_ONCE:
        return made.instant()
    return made.range().exemplar(query.exemplars)


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    """Green, yellow from `worse` on, red from `bad` on; the other way round where less is bad."""
    if panel.less_is_bad:
        bounds = [(panel.bad, "yellow"), (panel.worse, "green")]
        if panel.worse is None:
            bounds = [(panel.bad, "green")]
        lowest = "red" if panel.bad is not None else "yellow"
    else:
        bounds = [(panel.worse, "yellow"), (panel.bad, "red")]
        lowest = "green"
    steps = [models.Threshold(value=None, color=lowest)]
    steps += [models.Threshold(value=it, color=color) for it, color in bounds if it is not None]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _lines(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.TABLE)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .fill_opacity(25 if panel.stacked else 5)
        .line_width(1)
        .show_points(common_models.VisibilityMode.AUTO)
    )
    if panel.points_only:
        made.draw_style(common_models.GraphDrawStyle.POINTS).point_size(6)
    if panel.stacked:
        made.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    if panel.worse is not None or panel.bad is not None:
        made.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_models.GraphTresholdsStyleMode.DASHED)
        )
    if panel.source is Source.EXPERIMENTS:
        # A value stays until the next one.
        return made.line_interpolation(common_models.LineInterpolation.STEP_AFTER)
    return made.min(0)


def _stat(panel: Panel) -> stat.Panel:
    colored = panel.worse is not None or panel.bad is not None
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .text_mode(common_models.BigValueTextMode.VALUE)
        .color_mode(
            common_models.BigValueColorMode.BACKGROUND
            if colored
            else common_models.BigValueColorMode.VALUE
        )
    )


def _bars(panel: Panel) -> bargauge.Panel:
    """One bar of each series, from 0; a share up to 1."""
    made = (
        bargauge.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
        .value_mode(common_models.BarGaugeValueMode.TEXT)
        .min(0)
    )
    return made.max(1) if panel.unit is Unit.SHARE else made


def _table(panel: Panel) -> table.Panel:
    """Each series a line, its labels columns; the value, too, if it has a legend."""
    made = table.Panel().show_header(True)
    if len(panel.queries) > 1:
        made.with_transformation(_transformation("merge", {}))
    hidden = {"Time": True, "__name__": True, "job": True, "namespace": True, "experiment": True}
    names = {f"Value #{chr(ord('A') + n)}": q.legend for n, q in enumerate(panel.queries)}
    if len(panel.queries) == 1:
        names = {"Value": panel.queries[0].legend} if panel.queries[0].legend else {}
        hidden["Value"] = not names
    organised = {"excludeByName": hidden, "renameByName": names}
    return made.with_transformation(_transformation("organize", organised))


def _points(panel: Panel) -> xy.Panel:
    """One point of each trial: the first query's value to the right, the second's upwards."""
    right, up = panel.queries
    join = {"byField": "trial", "mode": "inner"}
    keep = {
        "include": {"names": ["trial", "Value #A", "Value #B"]},
    }
    names = {"renameByName": {"Value #A": right.legend, "Value #B": up.legend}}
    series = xy.ScatterSeriesConfig().x(right.legend).y(up.legend)
    return (
        xy.Panel()
        .with_transformation(_transformation("joinByField", join))
        .with_transformation(_transformation("filterFieldsByName", keep))
        .with_transformation(_transformation("organize", names))
        .series_mapping(xy_models.SeriesMapping.MANUAL)
        .series([series])
        .show(xy_models.ScatterShow.POINTS)
    )


_MAKERS: dict[Look, Callable[[Panel], _PanelBuilder]] = {
    Look.LINES: _lines,
    Look.STAT: _stat,
    Look.BARS: _bars,
    Look.TABLE: _table,
    Look.POINTS: _points,
}


def _transformation(name: str, options: object) -> models.DataTransformerConfig:
    return models.DataTransformerConfig(id_val=name, options=options)


def _source(source: Source) -> models.DataSourceRef:
    return models.DataSourceRef(type_val="prometheus", uid=f"${{{source.value}}}")


def _source_variable(source: Source) -> dashboard.DatasourceVariable:
    made = dashboard.DatasourceVariable(source.value).label(_TITLES[source]).type("prometheus")
    return made.regex(_NAMED[source])


def _variable(variable: Variable) -> dashboard.QueryVariable:
    made = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(_source(variable.source))
        .query({"query": variable.query, "refId": f"variable-{variable.name}"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    if not variable.several:
        return made
    everything = models.VariableOption(text="All", value="$__all")
    return made.multi(True).include_all(True).all_value(".*").current(everything)


def _other_dashboards() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Trialbus")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
