"""What every other room uses: files, checksums, errors, logging, the machine."""
