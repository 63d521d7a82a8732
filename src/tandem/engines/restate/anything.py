"""What the one handler does that serves every task: it finds the task on the execution's row."""

from dataclasses import dataclass

import restate
from restate.exceptions import TerminalError

from tandem import registry
from tandem.engines.restate.executor import ServiceExecutor
from tandem.engines.restate.invocation import Handler, answer_without_a_body, parse, unavailable
from tandem.engines.restate.targets import HEADER, NAME
from tandem.exceptions import LedgerUnavailable, UnknownTask
from tandem.ledger import connection as ledger
from tandem.ledger.hot import claims
from tandem.ledger.operating import retries

__all__ = ["AnyHandler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyHandler:
    """Serves our own sends, whatever their task; workflows too, which have no state of Restate's here."""

    process: ServiceExecutor

    async def __call__(self, context: restate.Context, body: bytes) -> bytes:
        """Run the execution as its task's own handler would; one that cannot be imported is sent again later."""
        request = context.request()
        reference, invocation = request.headers.get(HEADER), request.id
        if reference is None:
            raise TerminalError("Only Tandem's own sends come here: enqueue the task, or call its own handler.", 403)
        id_, dispatch_number = parse(reference)
        try:
            found = await ledger.aexecute(retries.phase_of(id_))
            if found is None:
                return await answer_without_a_body(self.process, id_, dispatch_number, invocation, own=True)
            try:
                task = await ledger.in_thread(registry.resolve, found.task)
            except UnknownTask as error:
                claiming = claims.claim_invocation(
                    id=id_,
                    task=found.task,
                    engine=NAME,
                    worker=self.process.worker,
                    lease=self.process.configuration.lease_seconds,
                    dispatch_number=dispatch_number,
                    invocation=invocation,
                )
                await ledger.in_thread(self.process.runner.refuse, claiming, error)
                return await answer_without_a_body(self.process, id_, dispatch_number, invocation, own=True)
        except LedgerUnavailable as error:
            raise unavailable(error) from error
        return await Handler(task=task, process=self.process)(context, body)
