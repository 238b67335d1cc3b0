"""Joining: HTTPS on port 10002, by which an edge gets its certificate (servers/httpserver)."""
