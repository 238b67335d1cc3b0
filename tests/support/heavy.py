"""Tells who has imported it, and has a metric that is there from then on."""

import os

from prometheus_client import Counter

IMPORTED_BY = os.getpid()
LIVES = Counter("testbed_lives", "Lives of the module heavy.")
