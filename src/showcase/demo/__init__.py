"""The demonstration: a scenario on the running stack whose every line is checked."""
