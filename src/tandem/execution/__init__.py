"""One attempt of one body: claim, run, record; the context that the body calls, and the leases that this process owns."""
