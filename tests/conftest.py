"""What all tests have in common."""

from __future__ import annotations

from hypothesis import settings

# The same examples every time, so that a change is judged by itself; fuzzing is done apart.
settings.register_profile("same-every-time", derandomize=True, deadline=None)
settings.load_profile("same-every-time")
