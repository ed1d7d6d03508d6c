"""small_cnn with pauses: a training run lasts long without using a core, so that tests can disturb many at once."""

import time

from deepnets.models import small_cnn
from deepnets.utils.option_types import NonNegativeNumber

MIN_IMAGE_SIZE = small_cnn.MIN_IMAGE_SIZE


class Options(small_cnn.Options):
    """The options of a slow_cnn in config.yaml: those of small_cnn, and the seconds of each training step."""

    seconds: NonNegativeNumber = 0.2


def build(num_classes, in_channels, options):
    network = small_cnn.build(num_classes, in_channels, options)
    network.register_forward_pre_hook(lambda module, _: time.sleep(options.seconds if module.training else 0))
    return network
