"""Putting a study into words and tables: results/report.md and report.html, metrics.csv and environment.json."""
