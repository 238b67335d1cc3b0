"""What `cloudcore doctor` checks of its own; modules add their checks (`Module.checks`)."""
