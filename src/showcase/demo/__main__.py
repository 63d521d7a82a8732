"""The scenario, run by `manage.py demo` in a process that has the stack's environment.

Arguments name the parts to run: `python -m showcase.demo emails files`; all without any.
"""

import os
import sys
import time
from importlib import import_module

import django

__all__ = ["main"]

INTERRUPTED = 130
WITH_VISITOR = ("files", "analysis", "pages")


PARTS = ("emails", "files", "analysis", "crash", "rollout", "pages")


def main() -> int:
    """Run the scenario and print what it found; 0 only if every line is right."""
    parts = sys.argv[1:] or PARTS
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"The demonstration has no part {', '.join(sorted(unknown))}: {', '.join(PARTS)}.")
    django.setup()
    # These import models, which need the apps loaded.
    from showcase.demo import rollout  # noqa: PLC0415
    from showcase.demo.observe import ScenarioError  # noqa: PLC0415
    from showcase.demo.report import Report  # noqa: PLC0415
    from showcase.demo.visitor import Visitor  # noqa: PLC0415

    report = Report()
    visitor: Visitor | None = None
    started_at = float(os.environ.get("TANDEM_DEMO_STARTED_AT") or time.time())
    try:
        rollout.set_percentage(0)
        visitor = Visitor.signed_in()
        for part in parts:
            run = import_module(f"showcase.demo.{part}").run
            run(report, visitor) if part in WITH_VISITOR else run(report)
    except (ScenarioError, OSError) as error:
        report.note("the scenario ran to its end", wrong=[str(error)])
    except KeyboardInterrupt:
        return INTERRUPTED
    print()
    print(report.table())
    print()
    print("\n".join(report.notes))
    if visitor is not None:
        print(f"Sign in as {visitor.user} with the password {visitor.password}: {visitor.address('/accounts/login')}")
    print(f"\n{time.time() - started_at:.1f} s from the start to this table.")
    if report.wrong:
        print(f"\nNot as expected ({len(report.wrong)}):")
        print("\n".join(f"  - {words}" for words in report.wrong))
    sys.stdout.flush()
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
