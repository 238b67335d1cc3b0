"""The API over HTTPS: routing, handlers, watches, discovery, OpenAPI."""
