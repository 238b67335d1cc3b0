"""What the pages show beside the supervisor's status: edges, devices, certificates, tokens."""
