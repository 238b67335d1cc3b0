"""HTTP for browsers: pages, their data, verbs, and the stream of what is live."""
