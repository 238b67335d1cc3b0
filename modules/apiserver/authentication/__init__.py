"""Who sends a request: client certificates, and the tokens of service accounts."""
