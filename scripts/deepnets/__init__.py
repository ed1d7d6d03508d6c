"""deepnets: the library behind the workflow's scripts. Only its room `planning` knows Snakemake.

from deepnets import load

model = load("results/digits/mobilenet_v2/quick/seed0")
for prediction in model.predict(["a.png", "b.jpg"]):
    print(prediction.label, prediction.probability)
"""

__all__ = ["Model", "Prediction", "load"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from deepnets.evaluation import predictor  # loads torch: here, the workflow does not wait for it

    return getattr(predictor, name)
