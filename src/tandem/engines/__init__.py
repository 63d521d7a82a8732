"""The engines: how work gets to a runner, and what a context's calls do there; nothing else."""
