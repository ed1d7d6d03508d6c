"""What `make bench` compares ours with: a module for each peer, written as its documentation tells its users.

Every module has
    train(model, images, labels, recipe, flips, should_stop, best=False)
which takes the recipe's steps (SGD, batch, crops and flips) by the library's own loop until `should_stop`, called after
every step, returns True: at the library's defaults, or with the flags that make it fastest on a CPU (`best`:
channels_last, and bfloat16 autocast where the CPU multiplies it natively). Those whose library recommends a recipe have
    EPOCHS
    train_recommended(model, images, labels, flips, epochs, should_stop)
which trains by that recipe, with the best flags; its schedule ends after `epochs`, EPOCHS is the recommended number.
Both change `model` and return nothing. images: uint8 (N, H, W, C). labels: int64 (N,). flips: whether images may be
mirrored. A module imports its library at its top, so it can be imported where that is installed (the extra `bench`).
"""

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Peer:
    """A peer's name for readers, the package that it needs, its module in this folder, and its color in figures."""

    name: str
    package: str
    module: str
    color: str

    @property
    def is_installed(self) -> bool:
        """Whether this environment has the package."""
        return importlib.util.find_spec(self.package) is not None

    def load(self) -> ModuleType:
        """Import the module, and with it the library."""
        return importlib.import_module(f"peers.{self.module}")


PEERS = {
    "plain": Peer("plain loop", "torch", "plain_loop", "#888888"),
    "timm": Peer("timm", "timm", "timm_train", "#EE7733"),
    "lightning": Peer("Lightning", "lightning", "lightning_fit", "#AA3377"),
    "fastai": Peer("fastai", "fastai", "fastai_fit", "#009988"),
}
BEST = "_best"  # ends the name of a variant with the best flags


def peer_of(way: str) -> Peer | None:
    """The peer of a variant such as "timm" or "timm_best"; None for our own."""
    return PEERS.get(way.removesuffix(BEST))


def installed_peers() -> list[str]:
    """Keys of the peers that this environment has; prints what is left out, and how to install it."""
    missing = [peer.name for peer in PEERS.values() if not peer.is_installed]
    if missing:
        print(
            f"Left out, as not installed here: {', '.join(missing)} (the extra `bench` of pyproject.toml; `make bench`"
            " installs it into .venv-bench)."
        )
    return [key for key, peer in PEERS.items() if peer.is_installed]
