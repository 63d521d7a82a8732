"""Describing a data set: pure functions from files to findings and pictures, in memory that does not grow with the file."""

from showcase.analysis.description.columns import describe_column
from showcase.analysis.description.correlations import MOST_CORRELATED, correlations
from showcase.analysis.description.matrices import MOST_SCATTERED, correlation_chart, scatter_matrix
from showcase.analysis.description.preparing import prepare

__all__ = [
    "MOST_CORRELATED",
    "MOST_SCATTERED",
    "correlation_chart",
    "correlations",
    "describe_column",
    "prepare",
    "scatter_matrix",
]
