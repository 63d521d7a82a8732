"""Telemetry: the trace context that each row carries."""

from tandem.telemetry.trace import current_trace

__all__ = ["current_trace"]
