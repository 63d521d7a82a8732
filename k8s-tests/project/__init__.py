"""A user's project, as the tests install it: an image built FROM another, a settings module, nothing else."""
