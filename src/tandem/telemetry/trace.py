"""The caller's trace context, stored with the row so that a later attempt, on any engine, can continue it."""

from collections.abc import Mapping

try:
    from opentelemetry.propagate import inject
except ImportError:  # Tracing is optional: without the API there is no context to carry.
    inject = None  # type: ignore[assignment]  # its absence is checked at each use

__all__ = ["current_trace"]


def current_trace() -> Mapping[str, str] | None:
    """Return the W3C headers (`traceparent`, `tracestate`, `baggage`) of the current span, or None outside one."""
    if inject is None:
        return None
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier or None
