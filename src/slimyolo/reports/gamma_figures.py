"""The figures of sparse training: how the BatchNorm scales γ shrank over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from slimyolo.reports.records.run_files import GammaEpoch, GammaHistory
from slimyolo.reports.stages import Stage
from slimyolo.reports.svg import Chart, Figure, Legend, nice_ticks

__all__ = ["gamma_figures", "gamma_quantile"]

MOST_COLUMNS = 60  # epochs drawn in the heat map; a phone has no pixels for more


def gamma_figures(stage: Stage, cut_share: float | None) -> tuple[Figure, ...]:
    """Plot how sparse training shrank the BatchNorm scales γ.

    results.csv gives the share of channels at zero and the median |γ|; gammas.json gives the distribution.
    `cut_share` is the share of channels (0 to 1) that the following cut removed; None without a cut.
    """
    figures = []
    gammas = stage.gammas
    if gammas is not None and gammas.epochs:
        figures += [_gamma_heat(gammas, cut_share), _gamma_outlines(gammas)]
    shares, medians = stage.column("sparsity/share"), stage.column("sparsity/median_gamma")
    if any(value is not None for value in shares):
        figures.append(_share_at_zero(shares, medians, _target(stage)))
    return tuple(figures)


def _gamma_heat(gammas: GammaHistory, cut_share: float | None) -> Figure:
    chosen = _thinned(gammas.epochs)
    edges, last = gammas.edges, gammas.epochs[-1]
    fullest = max(max(epoch.counts, default=0) for epoch in gammas.epochs) or 1
    cells = [[(count / fullest) ** 0.5 for count in epoch.counts] for epoch in chosen]
    columns = [epoch.epoch + 0.5 for epoch in chosen] + [last.epoch + 1.5]
    top = _highest(gammas)
    title = "|γ| over the epochs"
    chart = Chart(
        title=title,
        x=(columns[0], columns[-1]),
        y=(0.0, top),
        x_label="epoch",
        y_label="|γ|",
        x_ticks=_epoch_ticks(chosen),
    )
    shown = sum(edge < top - 1e-9 for edge in edges)
    chart.heat(columns, edges[: shown + 1], [column[:shown] for column in cells])
    legend: tuple[Legend, ...] = ()
    if cut_share is not None:
        chart.line(
            [(epoch.epoch + 1.0, gamma_quantile(epoch, gammas.edges, cut_share)) for epoch in chosen], 1, dashed=True
        )
        legend = (Legend(f"threshold: {cut_share:.0%} of the channels lie below it", 1, True),)
    caption = (
        "A stronger colour means more channels. Channels at exactly zero are not drawn; after the last epoch they are "
        f"{last.zeros:,} of {last.channels:,}."
    )
    return Figure(title, chart.svg(), caption, legend)


def _gamma_outlines(gammas: GammaHistory) -> Figure:
    title = "|γ| in the first and in the last epoch"
    first, last = gammas.epochs[0], gammas.epochs[-1]
    most, top = max((*first.counts, *last.counts, 1)), _highest(gammas)
    chart = Chart(title=title, x=(0.0, top), y=(0.0, most * 1.08), x_label="|γ|", y_label="channels")
    for series, epoch in ((0, first), (1, last)):
        points = [
            (edge, float(count))
            for count, left, right in zip(epoch.counts, gammas.edges, gammas.edges[1:], strict=False)
            for edge in (left, right)
            if right <= top + 1e-9
        ]
        chart.line(points, series, dashed=series == 0)
    legend = (Legend(f"epoch {first.epoch + 1}", 0, True), Legend(f"epoch {last.epoch + 1}", 1))
    caption = f"Channels at exactly zero are not drawn: {first.zeros:,} in the first epoch and {last.zeros:,} in the last one."
    return Figure(title, chart.svg(), caption, legend)


def _share_at_zero(shares: Sequence[float | None], medians: Sequence[float | None], target: float | None) -> Figure:
    title = "Share of channels at exactly zero"
    count = len(shares)
    high = max([value for value in (*shares, *medians, target) if value is not None] or [1.0])
    chart = Chart(
        title=title,
        x=(0.5, max(count + 0.5, 1.5)),
        y=(0.0, max(high * 1.12, 0.1)),
        x_label="epoch",
        y_label="share; |γ|",
    )
    chart.line([(number + 1.0, value) for number, value in enumerate(shares)], 0)
    chart.line([(number + 1.0, value) for number, value in enumerate(medians)], 1, dashed=True)
    if target is not None:
        chart.rule(y=target, text=f"target: {target:.0%}")
    return Figure(title, chart.svg(), "", (Legend("share at zero", 0), Legend("median |γ|", 1, True)))


def _target(stage: Stage) -> float | None:
    """The share (0 to 1) that the user asked to bring to zero: of channels, or of what the budget counts instead."""
    if stage.gammas is not None and stage.gammas.epochs:
        return stage.gammas.epochs[-1].target_share
    value = stage.settings.get("percent") if stage.settings.get("method") == "share" else None
    return float(value) if isinstance(value, (int, float)) else None


def gamma_quantile(epoch: GammaEpoch, edges: Sequence[float], share: float) -> float:
    """The |γ| below which `share` (0 to 1) of the channels lie, interpolated linearly within a bin.

    When that value lies above the last edge, the last edge is returned.
    """
    wanted = share * epoch.channels - epoch.zeros
    if wanted <= 0:
        return 0.0
    for count, left, right in zip(epoch.counts, edges, edges[1:], strict=False):
        if wanted <= count:
            return left + (right - left) * wanted / count
        wanted -= count
    return edges[-1]


def _thinned(epochs: Sequence[GammaEpoch]) -> list[GammaEpoch]:
    step = -(-len(epochs) // MOST_COLUMNS)
    return list(epochs[::step])


def _epoch_ticks(epochs: Sequence[GammaEpoch]) -> tuple[float, ...]:
    ticks = nice_ticks(epochs[0].epoch + 1, epochs[-1].epoch + 1)
    return tuple(tick for tick in ticks if float(tick).is_integer())


def _highest(gammas: GammaHistory) -> float:
    """The edge below which 99.5 % of the nonzero channels lie in every epoch.

    The axis ends there, because a few large values would squeeze all others together.
    """
    highest = 1
    for epoch in gammas.epochs:
        for place, reached in enumerate(accumulate(epoch.counts)):
            if reached >= 0.995 * (sum(epoch.counts) + epoch.above):
                highest = max(highest, place + 1)
                break
        else:
            highest = len(gammas.edges) - 1
    return gammas.edges[highest]
