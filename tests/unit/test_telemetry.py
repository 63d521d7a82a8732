from opentelemetry.sdk.trace import TracerProvider

from tandem.telemetry import current_trace


def test_outside_a_span_there_is_no_trace() -> None:
    assert current_trace() is None


def test_the_current_span_is_what_a_row_carries() -> None:
    tracer = TracerProvider().get_tracer("tests")
    with tracer.start_as_current_span("request") as span:
        found = current_trace()
    assert found is not None
    context = span.get_span_context()
    assert found["traceparent"].split("-")[1:3] == [f"{context.trace_id:032x}", f"{context.span_id:016x}"]
