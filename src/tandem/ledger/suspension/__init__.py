"""Bodies that hold no worker: sleeps, waits, children, and what wakes them."""
