"""A startup probe that ends when the registrar has started: one that failed each second would be as many Warning events."""  # noqa: INP001  # a program of the chart, in no package

import time
import urllib.request

while True:
    try:
        with urllib.request.urlopen("http://localhost:8080/healthz", timeout=5):
            break
    except OSError:
        time.sleep(0.2)
