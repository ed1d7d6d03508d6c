"""Predict pictures with model.onnx: a line for each, with its class and probability.

    python -m pip install --requirement requirements.txt
    python predict.py photo.png more/*.jpg
    python predict.py --invert ink_on_paper.jpg

Logits are divided by the temperature of the network before they become probabilities, inside model.onnx.

Exit codes: 0; 1 if a picture cannot be read or predicted, which is reported, after the others are done.
"""

import argparse
import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps, features

FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", *(["AVIF"] if features.check("avif") else [])]
BITS_PER_SAMPLE = 258  # a tag of TIFF
NETPBM_WHITE = re.compile(rb"P[2356]" + rb"(?:\s|#[^\r\n]*[\r\n])+(\d+)" * 3)  # kind, width, height, white
FITS = {"crop": ImageOps.fit, "pad": ImageOps.pad, "squash": Image.Image.resize}


def read(picture: str, size: int, channels: int, dataset: dict, invert: bool = False) -> np.ndarray:
    """Return a picture as the training images were prepared: uint8 (size, size, channels).

    Args:
        picture: the path of an image file.
        size, channels: of `input_shape` in the metadata of model.onnx.
        dataset: of `spec` in the metadata.
        invert: it is ink on paper, and the training images are bright on black: exchange dark and bright, so that paper
            becomes black, however gray it is, and the darkest ink white. A quarter of it is paper, at least.

    Raises:
        ValueError: its values are of more than 8 bits, in a file other than PNG.
        Exception: of Pillow's, it is no picture of FORMATS, or damaged.
    """
    file = Image.open(picture, formats=FORMATS)
    bits = bits_of(file, Path(picture).read_bytes())
    image = ImageOps.exif_transpose(file)
    if file.format == "PNG" and bits == 16:
        image = in_8_bits(image, dataset.get("bit_depth") or 16)
    elif bits > 8 or image.mode.startswith("I") or image.mode in ("F", "LAB"):
        raise ValueError(f"its values are of the kind {image.mode}, of {bits} bits; only PNG files may have 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image = image.convert("L" if channels == 1 else "RGB")
    image = FITS[dataset.get("non_square", "crop")](image, (size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image).reshape(size, size, channels)
    if not invert:
        return pixels
    inverted = 255 - pixels
    black = float(np.percentile(inverted, 25, method="lower"))
    contrast = max(1.0, float(inverted.max()) - black)
    return np.rint(np.maximum(inverted - black, 0) * (255 / contrast)).astype(np.uint8)


def bits_of(file: Image.Image, data: bytes) -> int:
    """Return how many bits a value of a picture file has; Pillow itself keeps only the upper 8 of 16 in colour."""
    if file.format == "PNG":
        return data[24]  # in its header
    if file.format == "TIFF":
        return max(file.tag_v2.get(BITS_PER_SAMPLE, (1,)))
    netpbm = NETPBM_WHITE.match(data) if file.format == "PPM" else None
    return 16 if netpbm and int(netpbm[3]) > 255 else 8


def in_8_bits(image: Image.Image, bit_depth: int) -> Image.Image:
    """Scale the picture of a PNG file of 16 bits; what its clear colour hides becomes white.

    Pillow keeps 16 bits in gray alone, and of the others the upper 8.
    """
    clear = image.info.get("transparency")
    if not image.mode.startswith("I"):
        if bit_depth != 16:
            raise ValueError("it has 16 bits in colour or with transparency; only gray may have them here")
        if isinstance(clear, tuple):
            image.info["transparency"] = tuple(value >> 8 for value in clear)
        return image
    values, white = np.asarray(image), 2**bit_depth - 1
    scaled = np.rint(np.minimum(values, white) / (white / 255)).astype(np.uint8)
    return Image.fromarray(scaled if clear is None else np.where(values == clear, np.uint8(255), scaled))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="image file")
    help_of_invert = "the pictures are dark on bright, the training images bright on dark"
    parser.add_argument("--invert", action="store_true", help=help_of_invert)
    args = parser.parse_args()
    onnxruntime.set_default_logger_severity(3)  # errors alone
    session = onnxruntime.InferenceSession(str(Path(__file__).with_name("model.onnx")))
    metadata = session.get_modelmeta().custom_metadata_map
    classes, spec, (channels, size, _) = (json.loads(metadata[key]) for key in ("classes", "spec", "input_shape"))
    # Whatever files and classes are called, and whatever the console can write.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")
    output = csv.writer(sys.stdout, lineterminator="\n")
    output.writerow(["file", "class", "probability"])
    code = 0
    for picture in args.pictures:
        if Path(picture).is_dir():
            print(f"{picture}: a folder; name its pictures: {Path(picture) / '*'}", file=sys.stderr)
            code = 1
            continue
        try:
            images = read(picture, size, channels, spec["dataset"], args.invert)[np.newaxis]
        except Exception as error:  # a damaged file can raise anything
            print(f"{picture}: cannot be read ({error}); convert, replace or remove it", file=sys.stderr)
            code = 1
            continue
        (probabilities,) = session.run(["probabilities"], {"images": images})
        if not np.isfinite(probabilities).all():
            print(f"{picture}: the network's answer is not a number (NaN); train it again", file=sys.stderr)
            code = 1
            continue
        best = probabilities[0].argmax()
        output.writerow([picture, classes[best], f"{probabilities[0, best]:.6f}"])
    sys.exit(code)


if __name__ == "__main__":
    main()
