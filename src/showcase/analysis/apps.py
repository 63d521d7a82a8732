"""The analysis app: one data set, described column by column and together."""

from django.apps import AppConfig

__all__ = ["AnalysisConfig"]


class AnalysisConfig(AppConfig):
    name = "showcase.analysis"
    label = "analysis"
    verbose_name = "Analysis"
    restate_service = "AnalysisService"
