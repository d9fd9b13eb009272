"""Tables and pages made from records only."""

from slimyolo.reports.stage_table import StageRow, stage_table_markdown

__all__ = ["StageRow", "stage_table_markdown"]
