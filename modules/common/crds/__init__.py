"""The CustomResourceDefinitions that cloudcore uses."""
