"""deepnets: the library behind the workflow's scripts. Only its room `planning` knows Snakemake."""
