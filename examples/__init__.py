"""Programs that use the channels alone: `python -m examples.talk`, and so on."""
