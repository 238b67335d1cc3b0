"""Objects of any kind: entries, names, selectors, field types, and metav1.Status for errors."""
