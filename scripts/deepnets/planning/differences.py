"""The changes between two fingerprints in words."""

from deepnets.utils.specs import change, changed_keys, leaves

IMAGES = "the images changed"


def differences(old: dict, new: dict) -> list[str]:
    """Return a phrase for each change between two fingerprints: settings first, then code files."""
    before, after = dict(leaves(old)), dict(leaves(new))
    phrases = dict.fromkeys(_phrase(key, before, after) for key in changed_keys(before, after))
    return sorted(filter(None, phrases), key=lambda phrase: phrase.startswith(("scripts/", "workflow/")))


def _phrase(key: tuple[str, ...], before: dict, after: dict) -> str:
    """Describe the change of one value; "" where other phrases say it."""
    match key:
        case ("state",):
            return IMAGES
        case ("settings_sha256",):
            return "what the figure shows, or how, changed"
        case ("code" | "files", file):
            state = "is new" if key not in before else "is no longer used" if key not in after else "changed"
            return f"{file} {state}"
        case ("spec", "datasets", name, _) if not _has(after, key[:3]) or not _has(before, key[:3]):
            return f"dataset {name}: {'new' if _has(after, key[:3]) else 'no longer in the study'}"
        case ("spec", "specs"):  # hashes: the experiments' own jobs name the settings
            return ""
        case ("spec", "models", model):  # its look, which its name and earlier models choose
            return f"{model}: another colour" if key in before and key in after else ""
        case ("spec", "style", model):
            return f"{model}: another name or look" if key in before and key in after else ""
        case ("spec", "margin"):
            return change("equivalence_margin", key, before, after)
        case ("spec", *names):
            return change(".".join(names) or "spec", key, before, after)
    return change(".".join(key), key, before, after)


def _has(values: dict, start: tuple[str, ...]) -> bool:
    return any(key[: len(start)] == start for key in values)
