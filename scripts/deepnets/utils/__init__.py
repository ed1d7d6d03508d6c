"""Modules that every other package uses: files, checksums, errors, logging, the machine."""
