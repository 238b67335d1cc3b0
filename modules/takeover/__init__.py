"""Moving a fleet from KubeEdge's own cloudcore to this one, and back: commands, no module."""
