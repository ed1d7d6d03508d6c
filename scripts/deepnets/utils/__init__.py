"""What every room uses: files, checksums, errors, logging, the machine."""
