"""Which engine runs a task: rules and facts give a decision. Pure: no database, no settings, no clock."""

from tandem.routing.decision import Decision, Facts, decide
from tandem.routing.explanation import explain
from tandem.routing.rule import Kind, Override, Rule, Source, problems
from tandem.routing.rules import Row, Rules, merge, table
from tandem.routing.sources import from_environment, from_settings, parse_target

__all__ = [
    "Decision",
    "Facts",
    "Kind",
    "Override",
    "Row",
    "Rule",
    "Rules",
    "Source",
    "decide",
    "explain",
    "from_environment",
    "from_settings",
    "merge",
    "parse_target",
    "problems",
    "table",
]
