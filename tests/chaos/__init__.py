"""Faults injected into real servers and processes under load, and what the ledger says afterwards.

`python -m tests.chaos` starts servers and processes of its own on free ports, injects one fault after the other while
plain tasks, stepped tasks and workflows run on both engines, and prints one row for each fault and engine. It exits
with 1 where a count that must be 0 is not. `tests.chaos.counting` says what exactly is counted.
"""
