"""Keeping a run of a step from ending, however short it is: it must take a lock before it may say that it ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.integration.site import Site
from tests.integration.waiting import until

__all__ = ["holding", "install"]

INSTALL = """
CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(
        hashtext((to_jsonb(OLD) ->> TG_ARGV[0]) || OLD.step || coalesce(to_jsonb(OLD) ->> 'column', '')));
    RETURN NEW;
END $$;
CREATE TRIGGER wait_for_the_test BEFORE UPDATE ON files_steprun
FOR EACH ROW EXECUTE FUNCTION wait_for_the_test('job_id');
CREATE TRIGGER wait_for_the_test BEFORE UPDATE ON analysis_steprun
FOR EACH ROW EXECUTE FUNCTION wait_for_the_test('analysis_id');
"""

RUNNING = """
SELECT process FROM files_steprun WHERE job_id = %(work)s AND step = %(step)s AND %(column)s = ''
UNION ALL
SELECT process FROM analysis_steprun WHERE analysis_id = %(work)s AND step = %(step)s AND "column" = %(column)s
"""


def install(site: Site) -> None:
    """Make runs of steps take their locks, which nobody holds but `holding`."""
    with site.ledger() as ledger:
        ledger.execute(INSTALL)


@contextmanager
def holding(site: Site, work: str, step: str, column: str = "") -> Iterator[Callable[[], int]]:
    """Keep the runs of a step from ending; gives a function that waits for one and answers the process that runs it."""
    values = {"work": work, "step": step, "column": column}
    with site.ledger() as lock, site.ledger() as ledger:
        lock.execute("SELECT pg_advisory_lock(hashtext(%s))", [f"{work}{step}{column}"])
        ledger.autocommit = True

        def process() -> int:
            (found,) = until(lambda: ledger.execute(RUNNING, values).fetchone(), f"{step} does not run") or (0,)
            return int(found)

        yield process
