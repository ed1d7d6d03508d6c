"""The unit of every study: one model trained on one dataset by one recipe from one seed."""

from dataclasses import dataclass, field

from deepnets.utils.files import canonical_json, sha256_text


@dataclass(frozen=True)
class Experiment:
    """Names for people and paths, and the `spec` that says everything the names stand for.

    spec: JSON-able `{"dataset": {...}, "model": {"architecture": ..., ...}, "recipe": {...}, "seed": int}` with every
    default resolved; experiments of equal specs compute the same thing, whatever their names.
    """

    dataset: str
    model: str
    recipe: str
    seed: int
    spec: dict = field(hash=False)

    @property
    def names(self) -> dict:
        """The names and the seed, as metrics.json and the report show them."""
        return {"dataset": self.dataset, "model": self.model, "recipe": self.recipe, "seed": self.seed}

    @property
    def directory(self) -> str:
        """Where its results are, from the working directory."""
        return f"results/{self.dataset}/{self.model}/{self.recipe}/seed{self.seed}"


def spec_sha256(spec: dict) -> str:
    """Hexadecimal SHA-256 of a spec's canonical JSON: equal where experiments compute the same thing."""
    return sha256_text(canonical_json(spec))
