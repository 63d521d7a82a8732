"""What the relay asks: what is due, lost, expired, or yet to be dropped by an engine."""
