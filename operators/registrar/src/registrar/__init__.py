"""Keeps Restate's deployments in step with `RestateService` objects.

`reconcile` decides, and touches nothing; `controller` looks and acts; `handlers` listens to Kubernetes through kopf.
"""
