"""The ring of a channel in shared memory: its layout, its writers, its reader, its counters."""
