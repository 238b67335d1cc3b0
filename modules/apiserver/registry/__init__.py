"""The operations on objects, independent of HTTP: Registry, deletion, CRDs, Event expiry."""
