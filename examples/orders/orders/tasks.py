"""The tasks. Each finished step is in the ledger: whatever dies, an order goes on from the last one, on either engine."""

from tandem import Context, SignalTimeout, task

PAY_WITHIN = 3 * 86_400


@task(takes_context=True, retries=5)
def fulfil(context: Context, number: int) -> str:
    """See an order through; it holds no worker while it waits for the payment."""
    shelf = context.step("reserve", reserve, number)
    try:
        payment = context.wait("paid", timeout=PAY_WITHIN)
    except SignalTimeout:
        return f"order {number} was not paid for, and {shelf} is free again"
    context.progress(1, total=2, message=f"paid by {payment['by']}")
    parcel = context.step("pack", pack, number, shelf)
    return str(context.call(send_receipt, number, parcel))


@task(retries=10, backoff=2)
def send_receipt(number: int, parcel: str) -> str:
    """Tell the customer. It is a task of its own, so its retries repeat nothing else."""
    return f"receipt of order {number}: {parcel}"


def reserve(number: int) -> str:
    """Find a shelf."""
    return f"shelf {number % 10}"


def pack(number: int, shelf: str) -> str:
    """Make a parcel."""
    return f"parcel {number} from {shelf}"
