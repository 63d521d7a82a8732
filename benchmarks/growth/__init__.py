"""`make growth`: what the ledger's statements cost PostgreSQL as it fills, from empty to 10,000,000 executions."""
