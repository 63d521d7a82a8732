"""Restate: durable execution. References go through its ingress; bodies run in our service, called by the runtime."""
