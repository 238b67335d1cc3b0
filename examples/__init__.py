"""Programs that use channels without a supervisor, such as `python -m examples.talk`."""
