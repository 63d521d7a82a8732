"""What each execution costs: enqueue, claim, heartbeat, checkpoint, finish."""
