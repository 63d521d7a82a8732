"""Run Django's tests in this process, and print how each case ended: a line of JSON for each, nothing else."""

import json
import os
import sys
import unittest
from types import TracebackType
from typing import Any

import django

type Failure = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Ends(unittest.TestResult):
    """How each case ended: the first failure of its subtests, or none."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[str, str] = {}

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802  # unittest's name
        """Take a case as passed until it says otherwise."""
        super().startTest(test)
        self.ends[test.id()] = ""

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802  # unittest's name
        """Keep what went wrong."""
        self._keep(test.id(), err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802  # unittest's name
        """Keep what was not as it should be."""
        self._keep(test.id(), err)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:  # noqa: N802  # unittest's name
        """Count a failed part as its whole case."""
        if err is not None:
            self._keep(test.id(), err)

    def _keep(self, case: str, err: Failure) -> None:
        if not self.ends.get(case):
            self.ends[case] = f"{type(err[1]).__name__}: {err[1]}"


def main(labels: list[str]) -> None:
    """Run the named modules, classes or cases of `tasks`."""
    django.setup()
    result = Ends()
    unittest.defaultTestLoader.loadTestsFromNames(labels).run(result)
    sys.stdout.writelines(json.dumps(end) + "\n" for end in result.ends.items())


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django_tasks.settings")
    main(sys.argv[1:])
