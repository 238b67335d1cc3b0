"""What is read once for all viewers, and sent to those who look."""
