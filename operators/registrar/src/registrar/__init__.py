"""Keeps Restate's deployments in step with `RestateService` objects."""
