"""deepnets: the library behind the workflow's scripts. It knows nothing of Snakemake."""

__version__ = "0.1.0"
