"""Make the images shipped in src/lamella/data/embedded from the real Fashion-MNIST files.

    python tools/make_embedded_fashion_mnist.py [--source FOLDER] [--out FOLDER] [--check]

The first 600 images of each class of the training set and the first 100 of
each class of the test set, in the order of the files; IDX format, gzip level 9,
without name or time in the gzip header. The same source gives the same files, byte for
byte, with the same zlib; ``--check`` compares what is there with what would be made (contents, and says
whether the compressed bytes agree too) and writes nothing.
"""

import argparse
import gzip
import hashlib
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

SHA256 = {  # of the real files, decompressed
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
PER_CLASS = {"train": 600, "t10k": 100}


def read(folder, name):
    data = gzip.decompress((folder / f"{name}.gz").read_bytes())
    if hashlib.sha256(data).hexdigest() != SHA256[name]:
        raise SystemExit(f"{folder / name}.gz is not the Fashion-MNIST file of 2017")
    ndim = data[3]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * ndim).reshape(struct.unpack_from(f">{ndim}I", data, 4))


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + np.ascontiguousarray(array).tobytes()


def compress(data):
    # written by hand: gzip.compress puts a byte for the operating system that differs between Python versions
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    body = packer.compress(data) + packer.flush()
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + body + struct.pack("<II", zlib.crc32(data), len(data))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "src/lamella/data/embedded")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    failed = False
    for split, count in PER_CLASS.items():
        labels = read(args.source, f"{split}-labels-idx1-ubyte")
        chosen = np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))
        for name, array in (
            (f"{split}-labels-idx1-ubyte", labels),
            (f"{split}-images-idx3-ubyte", read(args.source, f"{split}-images-idx3-ubyte")),
        ):
            data = idx(array[chosen])
            path = args.out / f"{name}.gz"
            if args.check:
                there = path.read_bytes()
                same = gzip.decompress(there) == data
                failed |= not same
                print(
                    f"{path}: contents {'agree' if same else 'DIFFER'}; compressed bytes {'agree' if there == compress(data) else 'differ'}"
                )
            else:
                path.write_bytes(compress(data))
                print(f"{path}: {path.stat().st_size} bytes, {array[chosen].shape}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
