"""Tells who has imported it."""

import os

IMPORTED_BY = os.getpid()
