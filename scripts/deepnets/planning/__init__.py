"""The settings and code that a job depends on, the resources that it requests, and its files."""
