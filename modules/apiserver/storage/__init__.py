"""The store: objects in memory and in an SQLite file, and the history for watches."""
