"""From a source's raw files to arrays: sources, download, decoding, arrays, splits."""
