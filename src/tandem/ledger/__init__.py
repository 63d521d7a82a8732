"""The ledger: the tables that are the truth about every execution, and every statement of the hot path by name."""
