"""A startup probe that ends when the registrar has started: one that failed each second would be as many Warning events."""  # noqa: INP001  # a program of the chart, in no package

import time
import urllib.request

# It is this pod: no proxy that extraEnv names for the rest of the world can reach it.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
while True:
    try:
        with opener.open("http://localhost:8080/healthz", timeout=5):
            break
    except OSError:
        time.sleep(0.2)
