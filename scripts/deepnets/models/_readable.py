"""Names of networks as their papers write them: `convnext_atto` is ConvNeXt Atto."""

import functools
import re

# The first word of a library's name, and how it is written. After it come sizes and settings, which are capitalised.
_FAMILIES = {
    "alexnet": "AlexNet",
    "beit": "BEiT",
    "beitv2": "BEiT v2",
    "cait": "CaiT",
    "coat": "CoaT",
    "coatnet": "CoAtNet",
    "convit": "ConViT",
    "convmixer": "ConvMixer",
    "convnext": "ConvNeXt",
    "convnextv2": "ConvNeXt V2",
    "crossvit": "CrossViT",
    "cspdarknet53": "CSPDarknet53",
    "cspresnet50": "CSPResNet50",
    "davit": "DaViT",
    "deit": "DeiT",
    "deit3": "DeiT III",
    "densenet": "DenseNet",
    "dla": "DLA",
    "dpn": "DPN",
    "edgenext": "EdgeNeXt",
    "efficientformer": "EfficientFormer",
    "efficientnet": "EfficientNet",
    "efficientnetv2": "EfficientNet V2",
    "eva": "EVA",
    "eva02": "EVA-02",
    "fasternet": "FasterNet",
    "fastvit": "FastViT",
    "fbnetc": "FBNet-C",
    "focalnet": "FocalNet",
    "ghostnet": "GhostNet",
    "ghostnetv2": "GhostNet V2",
    "googlenet": "GoogLeNet",
    "hgnet": "HGNet",
    "hgnetv2": "HGNet V2",
    "hiera": "Hiera",
    "hrnet": "HRNet",
    "inception": "Inception",
    "lcnet": "LCNet",
    "levit": "LeViT",
    "maxvit": "MaxViT",
    "mixer": "MLP-Mixer",
    "mixnet": "MixNet",
    "mnasnet": "MnasNet",
    "mobilenet": "MobileNet",
    "mobilenetv1": "MobileNet V1",
    "mobilenetv2": "MobileNet V2",
    "mobilenetv3": "MobileNet V3",
    "mobilenetv4": "MobileNet V4",
    "mobileone": "MobileOne",
    "mobilevit": "MobileViT",
    "mobilevitv2": "MobileViT V2",
    "nasnetalarge": "NASNet-A Large",
    "nfnet": "NFNet",
    "pit": "PiT",
    "poolformer": "PoolFormer",
    "pvt": "PVT",
    "regnet": "RegNet",
    "regnetx": "RegNetX",
    "regnety": "RegNetY",
    "regnetz": "RegNetZ",
    "repvgg": "RepVGG",
    "repvit": "RepViT",
    "res2net50": "Res2Net50",
    "resmlp": "ResMLP",
    "resnest": "ResNeSt",
    "resnet": "ResNet",
    "resnetv2": "ResNet V2",
    "resnext": "ResNeXt",
    "rexnet": "ReXNet",
    "selecsls": "SelecSLS",
    "semnasnet": "SE-MnasNet",
    "seresnet": "SE-ResNet",
    "seresnext": "SE-ResNeXt",
    "shufflenet": "ShuffleNet",
    "skresnet": "SK-ResNet",
    "squeezenet": "SqueezeNet",
    "swin": "Swin",
    "swinv2": "Swin V2",
    "tiny_vit": "TinyViT",
    "tinynet": "TinyNet",
    "tnt": "TNT",
    "twins": "Twins",
    "vgg": "VGG-",
    "visformer": "Visformer",
    "vit": "ViT",
    "volo": "VOLO",
    "wide_resnet": "Wide ResNet",
    "xception": "Xception",
    "xcit": "XCiT",
}
_SIZES = re.compile(
    r"\d+(x\d+)?(d|gf|mf|g|t)?|\d+[a-z]|[a-z]\d+|x?\d+\.\d+(gf)?|[a-z]\d\.\d|bn|[a-z]|v\d|patch\d+|window\d+|gap|ns|rw"
    r"|atto|femto|pico|nano|tiny|mini|small|medium|base|large|huge|giant|xlarge|xxlarge|xtiny|xsmall|lite\d?|minimal"
)
_CAPITALS = re.compile(r"[a-z]|bn|gap|rw|[a-wyz]\d+|[\d.]+(gf|mf)")
_DECIMALS = re.compile(r"(?<!\d)(\d)_(\d{1,2})(?!\d)")  # squeezenet1_0, regnet_x_1_6gf


@functools.cache
def readable(name: str) -> str | None:
    """A network's name as readers know it; None if it is not one of a known family, or has words that are not sizes.

    Args:
        name: as torchvision and timm write it: `resnet18`, `convnext_atto`, `efficientnet_b0`.
    """
    family = max((known for known in _FAMILIES if _starts_with(name, known)), key=len, default=None)
    if family is None:
        return None
    rest = _DECIMALS.sub(r"\1.\2", name[len(family) :])
    words = [word for word in rest.split("_") if word]
    if not all(_SIZES.fullmatch(word) for word in words):
        return None
    number = words.pop(0) if words and not rest.startswith("_") else ""  # it belongs to the family: ResNet18
    return " ".join([_FAMILIES[family] + number, *map(_written, words)])


def is_named_after(model: str, architecture: str) -> bool:
    """Return whether a name is that of an architecture, or of its family: `convnext` of `timm/convnext_atto`.

    Case, dots and underscores do not count; `vit` is no family of `vitamin_small`, nor `resnet5` of `resnet50`.
    """
    network = re.split("[/:]", architecture)[-1].lower()
    letters = re.sub(r"[\W_]", "", model.lower())
    end = r"(?!\d)" if letters[-1:].isdigit() else "(?![a-z])"
    return bool(letters) and re.match(r"[\W_]*".join(map(re.escape, letters)) + end, network) is not None


def _starts_with(name: str, family: str) -> bool:
    return re.match(rf"{family}(?![a-z])", name) is not None


def _written(word: str) -> str:
    return word.upper() if _CAPITALS.fullmatch(word) else word if re.match(r"x\d", word) else word.capitalize()
