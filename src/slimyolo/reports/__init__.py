"""Tables, plots and HTML pages about runs. They are made from the record files alone, without models or datasets."""

from slimyolo.reports.stage_table import StageRow, stage_table_markdown

__all__ = ["StageRow", "stage_table_markdown"]
