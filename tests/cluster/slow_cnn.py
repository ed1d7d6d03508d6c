"""small_cnn, taking its time: a training that lasts without using a core, so that many can be disturbed at once."""

import time

from deepnets.models import small_cnn
from deepnets.utils.option_types import NonNegativeNumber

MIN_IMAGE_SIZE = small_cnn.MIN_IMAGE_SIZE


class Options(small_cnn.Options):
    """What config.yaml may say of a slow_cnn: seconds of each step of its training as well."""

    seconds: NonNegativeNumber = 0.2


def build(num_classes, in_channels, options):
    network = small_cnn.build(num_classes, in_channels, options)
    network.register_forward_pre_hook(lambda module, _: time.sleep(options.seconds if module.training else 0))
    return network
