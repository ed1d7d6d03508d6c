"""Putting a study into words and tables: results/report.md, metrics.csv and environment.json."""
