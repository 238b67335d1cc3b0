"""The CA, and the certificates of cloudcore and its edge nodes."""
