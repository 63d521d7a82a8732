"""The caller's trace context, stored with the row so that a later attempt, on any engine, can continue it."""

from collections.abc import Callable, Mapping

__all__ = ["current_trace"]


def _find_inject() -> Callable[[dict[str, str]], None] | None:
    try:
        from opentelemetry.propagate import inject  # noqa: PLC0415  # the extra `django-tandem[telemetry]`
    except ImportError:
        return None
    return inject


_inject = _find_inject()


def current_trace() -> Mapping[str, str] | None:
    """Return the W3C headers (`traceparent`, `tracestate`, `baggage`) of the current span.

    None outside a span, or where OpenTelemetry's API is not installed.
    """
    if _inject is None:
        return None
    carrier: dict[str, str] = {}
    _inject(carrier)
    return carrier or None
