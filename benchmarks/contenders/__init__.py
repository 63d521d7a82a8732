"""One module for each contender: how its tasks are enqueued, in its own idiom, and what its workers run."""
