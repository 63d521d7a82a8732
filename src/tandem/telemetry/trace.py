"""The caller's trace context, stored with the row so that a later attempt, on any engine, can continue it."""

from collections.abc import Mapping

try:
    from opentelemetry import propagate
except ImportError:  # Tracing is optional: without the API there is no context to carry.
    propagate = None  # type: ignore[assignment]  # the module's absence is checked at each use

__all__ = ["current_trace"]


def current_trace() -> Mapping[str, str] | None:
    """Return the W3C headers (`traceparent`, `tracestate`, `baggage`) of the current span, or None outside one."""
    if propagate is None:
        return None
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier or None
