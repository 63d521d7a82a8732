"""What people and what watches over work ask: cancel, retry, prune, load."""
