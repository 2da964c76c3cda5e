"""The command ``lamella``: train, lr-find, predict, bench, tune, warmup, info, check.

Errors are one line on stderr and exit status 2 (``--traceback`` shows where they come from); Ctrl-C ends with status 130.
"""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import importlib.util
import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import lamella

MODELS = ("mlp", "lenet", "vgg-small", "resnet8", "resnet20")
BACKENDS = ("auto", "cython", "numba", "reference")
DEFAULTS: dict[str, Any] = {
    "data": "embedded",
    "model": "lenet",
    "epochs": 12,
    "batch_size": 64,
    "lr": None,
    "optimizer": "adamw",
    "schedule": "onecycle",
    "weight_decay": None,
    "momentum": 0.9,
    "patience": None,
    "threads": None,
    "backend": None,
    "seed": 0,
    "out": None,
    "resume": None,
    "limit": None,
    "augment": False,
    "workers": 0,
    "download": False,
    "no_pictures": False,
    "quiet": False,
}
LEARNING_RATES = {"adamw": 5e-3, "adam": 5e-3, "sgd": 0.05}
WEIGHT_DECAYS = {"adamw": 1e-2, "adam": 0.0, "sgd": 5e-4}
MAY_CHANGE = {
    "threads",
    "backend",
    "workers",
    "quiet",
    "resume",
}  # when a run is resumed: what does not change its numbers, or its user wants
EVALUATED_AT_ONCE = 250  # images
CHECKPOINT, METRICS = "checkpoint.safetensors", "metrics.json"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: error: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(2)


def _number(kind: Callable[[str], Any], least: float, what: str, open_end: bool = False) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not (value > least if open_end else value >= least) or value == float("inf"):
            raise argparse.ArgumentTypeError(f"expected {what}, got {text!r}")
        return value

    return parse


_positive = _number(int, 1, "a positive integer")
_rate = _number(float, 0, "a positive number", open_end=True)
_weight = _number(float, 0, "a number that is not negative")
_count = _number(int, 0, "an integer that is not negative")


def _parser() -> Parser:
    parser = Parser(prog="lamella", description="Train and use convolutional networks on CPUs.")
    parser.add_argument("--version", action="version", version=f"lamella {lamella.__version__}")
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--traceback", action="store_true", help="on an error, show where it comes from")
    compute = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    compute.add_argument("--threads", type=_positive, metavar="N", help="threads (default: the processors this process may use)")
    compute.add_argument("--backend", choices=BACKENDS, help="who computes (default: auto, or LAMELLA_BACKEND)")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)

    study = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    add = study.add_argument
    add("--data", metavar="NAME", help="embedded (default), fashion-mnist, mnist, or a folder with their four IDX files")
    add("--download", action="store_true", help="fetch the data set if it is not there")
    add("--limit", type=_positive, metavar="N", help="use only the first N training and the first N test images")
    add("--augment", action="store_true",
        help="move the training images by up to a pixel, and mirror them unless they are digits, each time anew")  # fmt: skip
    add("--model", choices=MODELS, help="default: lenet")
    add("--batch-size", type=_positive, metavar="N", help=f"default: {DEFAULTS['batch_size']}")
    add("--optimizer", choices=tuple(LEARNING_RATES), help="default: adamw")
    add("--weight-decay", type=_weight, metavar="X", help="default: 0.01; sgd: 0.0005; adam: 0")
    add("--momentum", type=_weight, metavar="X", help="of sgd (default: 0.9)")
    add("--seed", type=_count, metavar="N", help="of every random number (default: 0)")

    train = commands.add_parser(
        "train",
        parents=[study, common, compute],
        argument_default=argparse.SUPPRESS,
        help="learn to tell images apart",
        description="Train a network on images. Without options: LeNet on the 6,000 images of Fashion-MNIST that come with lamella. "
        "The test images are evaluated after each epoch, for the curves only.",
    )
    add = train.add_argument
    add("--epochs", type=_positive, metavar="N", help=f"default: {DEFAULTS['epochs']}")
    add("--lr", type=_rate, metavar="X", help="highest learning rate (default: 0.005; sgd: 0.05)")
    add("--schedule", choices=("onecycle", "cosine", "step", "plateau", "none"), help="of the learning rate (default: onecycle)")
    add("--patience", type=_count, metavar="N",
        help="stop after N epochs without a lower loss on a tenth of the training images kept apart, and keep the best weights")  # fmt: skip
    add("--workers", type=_count, metavar="N", help="threads that prepare batches ahead (default: 0)")
    add("--out", metavar="FOLDER", help="where the results go (default: runs/<time>)")
    add("--resume", metavar="FOLDER", help="go on with an interrupted run, with its options")
    add("--no-pictures", action="store_true", help="do not draw curves.png, confusion.png and filters.png")
    add("--quiet", action="store_true", help="print the last line only")
    train.set_defaults(run=_train)

    lr_find = commands.add_parser(
        "lr-find",
        parents=[study, common, compute],
        argument_default=argparse.SUPPRESS,
        help="find a learning rate to train with",
        description="Train with a learning rate that grows from batch to batch until the loss rises, and suggest a tenth of the rate at which it starts to. "
        "Options as for train, which then takes the suggestion as --lr.",
    )
    add = lr_find.add_argument
    add("--start", type=_rate, default=1e-6, metavar="X", help="the first learning rate (default: 1e-6)")
    add("--end", type=_rate, default=10.0, metavar="X", help="the last learning rate (default: 10)")
    add("--steps", type=_positive, default=200, metavar="N", help="batches between them (default: 200)")
    add("--plot", default=None, metavar="FILE", help="draw the losses over the learning rates (.png, .svg, .pdf)")
    lr_find.set_defaults(run=_lr_find)

    predict = commands.add_parser(
        "predict",
        parents=[common, compute],
        help="tell what pictures show",
        description="Print class probabilities for pictures (PNG, JPEG, ...) or for arrays (.npy, of shape (N, C, H, W), (N, H, W) or (H, W); uint8, or floats "
        "between 0 and 1). Pictures are turned to the number of channels and resized to the size the model was trained on; transparency becomes black. "
        "Polarity: bright means what it meant in training, which for MNIST and Fashion-MNIST is a bright object on black; --invert for dark on bright.",
    )
    predict.add_argument("model", metavar="model.safetensors")
    predict.add_argument("inputs", nargs="+", metavar="picture|batch.npy")
    predict.add_argument("--invert", action="store_true", help="swap dark and bright first")
    predict.add_argument("--top", type=_positive, default=3, metavar="K", help="print the K likeliest classes (default: 3)")
    predict.add_argument("--json", action="store_true", help="print everything as JSON")
    predict.set_defaults(run=_predict, threads=None, backend=None)

    bench = commands.add_parser(
        "bench",
        parents=[common],
        help="how fast this machine computes",
        description="Measure FMA peak and copy bandwidth of this machine, and what share of them lamella's operations reach, beside PyTorch, ONNX Runtime and "
        "NumPy where they are installed. Leave the machine alone meanwhile.",
    )
    bench.add_argument(
        "--suite", nargs="+", metavar="NAME", help="every case of these suites, instead of some of each; an unknown name lists them"
    )
    bench.add_argument("--threads", type=_positive, metavar="N", help="default: the processors this process may use")
    bench.add_argument("--quick", action="store_true", help="fewer cases and rounds: less than a minute")
    bench.add_argument("--json", metavar="FILE", help="write every time measured")
    bench.add_argument("--plot", metavar="FILE", help="draw a roofline (.png, .svg, .pdf)")
    bench.set_defaults(run=_bench)

    tune = commands.add_parser(
        "tune",
        parents=[common],
        help="measure which kernels are fastest here",
        description="Time every implementation of each problem of a training step, and write a table for LAMELLA_TUNING or lamella.load_tuning. Nothing is ever "
        "tuned by itself; a training keeps the table it ran with in its checkpoints. Leave the machine alone meanwhile.",
    )
    tune.add_argument("model", nargs="?", metavar="NAME|model.safetensors", help=f"one of {', '.join(MODELS)}, or a saved model")
    tune.add_argument("--problems", metavar="FILE", help="instead of a model: one problem per line, as lamella.testing.explain prints them")
    tune.add_argument("--batch-size", type=_positive, nargs="+", default=[64], metavar="N", help="default: 64")
    tune.add_argument(
        "--input", type=_positive, nargs=3, metavar=("C", "H", "W"), help="shape of an image (default: 1 28 28, or the saved model's)"
    )
    tune.add_argument("--classes", type=_positive, default=10, metavar="N", help="of a named model (default: 10)")
    tune.add_argument("--rounds", type=_positive, default=7, metavar="N", help="median of so many (default: 7)")
    tune.add_argument("--threads", type=_positive, metavar="N", help="with which to measure; the choice then holds for any number")
    tune.add_argument("--out", default="tuning.json", metavar="FILE", help="default: tuning.json")
    tune.set_defaults(run=_tune)

    info = commands.add_parser(
        "info", parents=[common], help="what this installation is and runs on", description="Print what a bug report should hold."
    )
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(run=_info)
    warmup = commands.add_parser(
        "warmup",
        parents=[common],
        help="compile Numba's kernels ahead of their first use",
        description="Compile what the Numba backend needs and keep it on disk (in NUMBA_CACHE_DIR, or beside the kernels): for every operation, or for the "
        "training and evaluation of a model on 28 x 28 images. A second time takes seconds. What is kept is valid for these sources, this instruction "
        "set and this processor, and is compiled anew otherwise.",
    )
    what = warmup.add_mutually_exclusive_group()
    what.add_argument("--model", choices=MODELS, help="only what this model needs")
    what.add_argument("--all", action="store_true", help="every operation, with all its edges (default)")
    warmup.add_argument("--batch-size", type=_positive, default=DEFAULTS["batch_size"], metavar="N", help="of --model (default: 64)")
    warmup.add_argument("--dtype", choices=("float32", "float64", "both"), default="float32", help="default: float32")
    warmup.set_defaults(run=_warmup)
    commands.add_parser("check", add_help=False, help="prove every kernel of this installation against the reference")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments. Default: of the process.

    Examples
    --------
    >>> main(["info"])  # doctest: +ELLIPSIS
    lamella ...
    0
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["check"]:
        args = argparse.Namespace(command="check", run=lambda args: _check(argv[1:]))
    else:
        args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt as interruption:
        print(f"\nlamella {args.command}: {str(interruption) or 'interrupted'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, RuntimeError, OSError, MemoryError, ImportError) as error:
        if getattr(args, "traceback", False):
            raise
        text = (
            f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        )
        print(f"lamella {args.command}: error: {' '.join(text.split())}", file=sys.stderr)
        return 2


def _compute(args: Any) -> None:
    if args.backend is not None:
        lamella.use_backend(args.backend)
    if args.threads is not None:
        lamella.set_num_threads(args.threads)


# warmup


def _model_units(name: str, batch: int, dtype: str) -> list[tuple[str, Callable[[], Any]]]:
    """A training step and an evaluation, as `lamella train` does them."""
    from lamella import functional, models, optim

    model = models.create(name, in_channels=1, num_classes=10, image_size=28)
    model.to(np.dtype(dtype))
    optimizer = optim.AdamW(model.parameters())

    def step() -> None:
        model.train()
        images, labels = np.zeros((batch, 1, 28, 28), dtype), np.zeros(batch, np.int64)
        functional.cross_entropy(model(lamella.Tensor(images)), labels).backward()
        optimizer.step()

    def evaluate() -> None:
        model.eval()
        with lamella.no_grad():
            model(lamella.Tensor(np.zeros((EVALUATED_AT_ONCE, 1, 28, 28), dtype)))

    return [(f"{name}: a training step", step), (f"{name}: evaluation", evaluate)]


def _warmup(args: Any) -> int:
    from lamella.testing.warmup import every_kernel, warm

    lamella.use_backend("numba")
    dtypes = ("float32", "float64") if args.dtype == "both" else (args.dtype,)
    units = [unit for dtype in dtypes for unit in (_model_units(args.model, args.batch_size, dtype) if args.model else every_kernel(dtype))]
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    bar = (
        tqdm(total=len(units), leave=False, bar_format="{desc:32} {percentage:3.0f}%|{bar:24}| {elapsed} gone")
        if tqdm and sys.stderr.isatty()
        else None
    )
    shown = ""

    def progress(name: str) -> None:
        nonlocal shown
        if bar is not None:
            bar.set_description_str(name)
            bar.update()
        elif name != shown:
            print(name, file=sys.stderr)
        shown = name

    report = warm(units, progress)
    if bar is not None:
        bar.close()
    print(report)
    return 0


# train


def _options(args: argparse.Namespace) -> argparse.Namespace:
    """The options of the run: defaults, what the command line says; for a resumed run, what it was started with."""
    given = {name: value for name, value in vars(args).items() if name in DEFAULTS}
    if "resume" not in given:
        return argparse.Namespace(**{**DEFAULTS, **given})
    out = Path(given["resume"])
    if not (out / CHECKPOINT).is_file() or not (out / "config.json").is_file():
        raise ValueError(f"--resume: expected a folder of lamella train with {CHECKPOINT} and config.json, got {out}")
    try:
        stored = {**DEFAULTS, **json.loads((out / "config.json").read_text())["options"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{out / 'config.json'}: expected the options of the run, got a damaged file ({error!r})") from None
    for name, value in given.items():
        if name not in MAY_CHANGE and stored[name] != value:
            option = "--" + name.replace("_", "-")
            raise ValueError(
                f"{option} {value}: a resumed run keeps its options, and it was started with {stored[name]}; leave {option} out"
            )
    return argparse.Namespace(**{**stored, **{name: value for name, value in given.items() if name in MAY_CHANGE}, "out": str(out)})


def _datasets(options: Any) -> tuple[Any, Any]:
    from lamella.data import datasets

    def make(train: bool) -> Any:
        if options.data == "embedded":
            return datasets.EmbeddedFashionMNIST(train, None)
        if options.data == "fashion-mnist":
            return datasets.FashionMNIST(None, train, None, options.download)
        if options.data == "mnist":
            return datasets.MNIST(None, train, None, options.download)
        if not Path(options.data).is_dir():
            raise ValueError(f"--data: expected embedded, fashion-mnist, mnist or a folder, got {options.data!r}")
        kind = datasets.MNIST if "fashion" not in str(Path(options.data).resolve()).lower() else datasets.FashionMNIST
        return kind(options.data, train, None)

    found = make(True), make(False)
    for dataset in found:
        if options.limit is not None:
            dataset.images, dataset.labels = dataset.images[: options.limit], dataset.labels[: options.limit]
    if not len(found[0]) or not len(found[1]):
        raise ValueError(f"--data: expected images to train on and to test with, got {len(found[0])} and {len(found[1])}")
    return found


def _optimizer(options: Any, model: Any) -> Any:
    from lamella import optim

    decay = WEIGHT_DECAYS[options.optimizer] if options.weight_decay is None else options.weight_decay
    if options.optimizer == "sgd":
        return optim.SGD(model.parameters(), lr=options.lr, momentum=options.momentum, weight_decay=decay)
    return (optim.AdamW if options.optimizer == "adamw" else optim.Adam)(model.parameters(), lr=options.lr, weight_decay=decay)


def _scheduler(options: Any, optimizer: Any, batches: int) -> tuple[Any, str | None]:
    from lamella.optim import lr_scheduler

    steps = options.epochs * batches
    if options.schedule == "onecycle":
        cycles = options.optimizer != "sgd" or options.momentum > 0
        return lr_scheduler.OneCycleLR(optimizer, options.lr, total_steps=steps, cycle_momentum=cycles), "batch"
    if options.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps), "batch"
    if options.schedule == "step":
        return lr_scheduler.StepLR(optimizer, step_size=max(1, -(-options.epochs // 3))), "epoch"
    if options.schedule == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=2), "epoch"
    return None, None


def _folder(options: Any) -> Path:
    if options.out is None:
        base = Path("runs") / time.strftime("%Y%m%d-%H%M%S")
        out, number = base, 1
        while out.exists():
            number += 1
            out = base.with_name(f"{base.name}-{number}")
    else:
        out = Path(options.out)
        if options.resume is None and (out / CHECKPOINT).exists() and not (out / METRICS).exists():
            raise ValueError(f"--out {out}: holds an interrupted run; go on with --resume {out}, or choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    if options.resume is None:
        for name in (CHECKPOINT, METRICS):
            (out / name).unlink(missing_ok=True)
    return out


def _csv(history: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    columns = list(dict.fromkeys(key for record in history for key in record))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def _study(options: Any) -> tuple[Any, Any, Any, list[float], list[float]]:
    """Training and test images, both normalised by the mean and standard deviation of the former, a new model, and these two."""
    from lamella import models, random
    from lamella.data.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip

    images, test = _datasets(options)
    random.manual_seed(options.seed)
    pixels = images.images.astype(np.float32) / 255
    mean = [round(float(v), 4) for v in np.atleast_1d(pixels.mean((0, 2, 3), np.float64))]
    std = [round(float(v), 4) or 1.0 for v in np.atleast_1d(pixels.std((0, 2, 3), np.float64))]
    images.transform = test.transform = Normalize(mean, std)
    if options.augment:
        mirrored = [RandomHorizontalFlip()] if images.mirrors else []
        images.transform = Compose([*mirrored, RandomCrop(images.image_size, padding=1), images.transform])
    model = models.create(options.model, in_channels=images.in_channels, num_classes=len(images.classes), image_size=images.image_size)
    return images, test, model, mean, std


def _train(args: argparse.Namespace) -> int:
    options = _options(args)
    _compute(options)
    from lamella.config import get_config
    from lamella.data import DataLoader, Subset, random_split
    from lamella.serialization import save_model, write_atomically
    from lamella.train import EarlyStopping, Interrupted, Trainer, learning_verdict

    if options.lr is None:
        options.lr = LEARNING_RATES[options.optimizer]
    images, test, model, mean, std = _study(options)
    out = _folder(options)

    train, valid, callbacks = images, test, []
    if options.patience is not None:
        train, kept = random_split(images, [0.9, 0.1])
        if not len(kept):
            raise ValueError(f"--patience needs a tenth of the training images for validation, and there are {len(images)}")
        held = copy.copy(images)
        held.transform = test.transform
        valid = Subset(held, kept.indices)
        callbacks.append(EarlyStopping("val_loss", options.patience))
    loader = DataLoader(train, min(options.batch_size, len(train)), shuffle=True, drop_last=True, num_workers=options.workers)
    valid_loader, test_loader = DataLoader(valid, EVALUATED_AT_ONCE, num_workers=options.workers), DataLoader(test, EVALUATED_AT_ONCE)
    optimizer = _optimizer(options, model)
    scheduler, per = _scheduler(options, optimizer, len(loader))
    config = {"options": {**vars(options), "out": str(out), "resume": None}, "environment": get_config()}
    if options.resume is None:
        write_atomically(out / "config.json", json.dumps(config, indent=2) + "\n")
    parameters = sum(p.numel() for p in model.parameters())
    if not options.quiet:
        environment = config["environment"]
        print(
            f"{options.model}: {parameters:,} parameters; {options.data}: {len(train):,} training and {len(test):,} test images of {len(images.classes)} classes\n"
            f"backend {environment['backend']}, instruction set {environment['instruction set']}, threads {environment['threads']}; results go to {out}",
            flush=True,
        )
    trainer = Trainer(
        model,
        optimizer,
        scheduler=scheduler,
        schedule_per=per,
        callbacks=callbacks,
        checkpoint=out / CHECKPOINT,
        progress="none" if options.quiet else "auto",
        valid_name="test" if options.patience is None else "validation",
    )
    try:
        history = trainer.fit(loader, valid_loader, options.epochs, resume=options.resume is not None)
    except Interrupted as interruption:
        hint = f"; go on with: lamella train --resume {out}" if interruption.checkpoint else ""
        raise KeyboardInterrupt(f"{interruption}{hint}") from None
    logits = trainer.predict(test_loader)
    verdict = learning_verdict(history)
    result = {
        "test_accuracy": float((logits.argmax(1) == test.labels).mean()),
        "test_loss": float(lamella.functional.cross_entropy(logits, test.labels)),
        "train_seconds": sum(record["seconds"] for record in history),
        "epochs": trainer.epoch,
        "images_per_second": len(loader) * loader.batch_size * len(history) / sum(record["seconds"] for record in history),
        "parameters": parameters,
        "stopped": trainer.stopped,
        "verdict": dataclasses.asdict(verdict),
        "history": history,
        "config": config,
    }
    save_model(
        model,
        out / "model.safetensors",
        classes=images.classes,
        mean=mean,
        std=std,
        data=options.data,
        test_accuracy=result["test_accuracy"],
    )
    write_atomically(out / "history.csv", _csv(history))
    if not options.no_pictures:
        _pictures(out, options, model, history, logits, test)
    write_atomically(out / METRICS, json.dumps(result, indent=2) + "\n")
    if not options.quiet:
        print(verdict)
    print(
        f"test accuracy {result['test_accuracy']:.4f}, test loss {result['test_loss']:.4f}; {result['epochs']} epochs in {result['train_seconds']:.1f} s, "
        f"{result['images_per_second']:.0f} images/s; {out / 'model.safetensors'}"
    )
    return 0


def _lr_find(args: argparse.Namespace) -> int:
    options = argparse.Namespace(**{**DEFAULTS, **vars(args)})
    _compute(options)
    from lamella.data import DataLoader
    from lamella.train import find_lr, plots

    if options.plot:
        plots.check_target(options.plot)
    options.lr = options.start
    images, _, model, _, _ = _study(options)
    loader = DataLoader(images, min(options.batch_size, len(images)), shuffle=True, drop_last=True)
    found = find_lr(model, _optimizer(options, model), loader, start=options.start, end=options.end, steps=options.steps)
    print(f"the loss falls fastest at {found.steepest:.2g} and rises from {found.rises:.2g} on; suggestion: --lr {found.suggestion:.2g}")
    if options.plot:
        found.plot(options.plot)
        print(options.plot)
    return 0


def _pictures(out: Path, options: Any, model: Any, history: list[dict[str, Any]], logits: np.ndarray, test: Any) -> None:
    from lamella.train import confusion_matrix, plots

    right = float((logits.argmax(1) == test.labels).mean())
    name = f"{options.model} on {'Fashion-MNIST (embedded subset)' if options.data == 'embedded' else options.data}"
    weight = next(p.data for n, p in model.named_parameters() if n.endswith("weight"))
    what = f"First-layer filters of {name}"
    if weight.ndim == 2:
        weight = weight.reshape(len(weight), test.in_channels, *test.image_size)
        what = f"First-layer weights of {name}"
    if importlib.util.find_spec("matplotlib") is None:
        print("lamella train: no pictures, which Matplotlib draws; run: pip install 'lamella[train]'", file=sys.stderr)
    else:
        plots.plot_curves(history, out / "curves.png", name, "test" if options.patience is None else "validation")
        matrix = confusion_matrix(test.labels, logits, len(test.classes))
        plots.plot_confusion(matrix, test.classes, out / "confusion.png", f"{name}: {right:.1%} of {len(test)} test images right")
        plots.plot_filters(weight, out / "filters.png", what)


# predict


def _batch(path: Path, channels: int, size: tuple[int, int]) -> np.ndarray:
    try:
        images = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: expected an .npy file of numbers, got a damaged or foreign file ({error})") from None
    if not isinstance(images, np.ndarray):
        raise ValueError(f"{path}: expected an .npy file, got an .npz archive; save one array with numpy.save")
    expected = f"(N, {channels}, {size[0]}, {size[1]})"
    given = images.shape
    if images.ndim == 2 and channels == 1:
        images = images[None, None]
    elif images.ndim == 3:
        images = images[:, None] if channels == 1 and given[1:] == size else images[None]
    if images.ndim != 4 or images.shape[1:] != (channels, *size):
        raise ValueError(f"{path}: expected images of shape {expected}, as the model was trained on, got {given}")
    if images.dtype != np.uint8:
        if images.dtype.kind != "f":
            raise ValueError(f"{path}: expected images of uint8, or of floats between 0 and 1, got {images.dtype}")
        low, high = float(images.min(initial=0)), float(images.max(initial=0))
        if not (low >= 0 and high <= 1):
            raise ValueError(f"{path}: expected floats between 0 and 1, got {low:g} to {high:g}; divide by 255, or save as uint8")
        images = images.astype(np.float32)
    return images


def _predict(args: argparse.Namespace) -> int:
    _compute(args)
    from lamella.data import read_picture
    from lamella.data.transforms import Normalize
    from lamella.serialization import load_model

    model = load_model(args.model)
    arguments, description = model.architecture["arguments"], model.description
    channels, image_size = arguments.get("in_channels", 1), arguments.get("image_size", 28)
    size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
    normalize = Normalize(description.get("mean", 0.0), description.get("std", 1.0))
    results = []
    for text in args.inputs:
        path = Path(text)
        if path.suffix.lower() in (".npy", ".npz"):
            images = _batch(path, channels, size)
            names = [f"{path}[{i}]" for i in range(len(images))]
        else:
            images, names = read_picture(path, channels, size, args.invert)[None], [str(path)]
        if args.invert:
            images = 255 - images if images.dtype == np.uint8 else 1 - images
        elif channels == 1 and images.dtype == np.uint8 and len(images) == 1 and sum(description.get("mean", [1.0])) < 0.4:
            border = np.concatenate([images[0, 0, [0, -1]].ravel(), images[0, 0, :, [0, -1]].ravel()])
            if np.median(border) > 160:
                print(
                    f"lamella predict: {path}: bright at its edges; the model learned bright objects on black: --invert?", file=sys.stderr
                )
        for start in range(0, len(images), 250):
            with lamella.no_grad():
                logits = model(normalize(images[start : start + 250]))
                probabilities = lamella.functional.softmax(logits, 1).data
            results += list(zip(names[start:], probabilities))
    classes = description.get("classes") or [str(i) for i in range(arguments.get("num_classes", 10))]
    if args.json:
        print(json.dumps([{"name": n, "probabilities": {c: float(v) for c, v in zip(classes, p)}} for n, p in results], indent=2))
        return 0
    for name, p in results:
        best = np.argsort(-p, kind="stable")[: args.top]
        print(f"{name}: " + ", ".join(f"{classes[i]} {p[i]:.4f}" for i in best))
    return 0


# bench and tune


def _check_folder(path: str) -> None:
    """Before a long measurement, that its result can be written."""
    if not Path(path).parent.is_dir():
        raise ValueError(f"{path}: there is no folder {Path(path).parent}")


def _bench(args: argparse.Namespace) -> int:
    from lamella import bench
    from lamella.testing.peers.suites import SUITES

    for name in args.suite or []:
        if name not in SUITES:
            raise ValueError(f"--suite: expected some of {', '.join(SUITES)}, got {name!r}")
    if args.json is not None:
        _check_folder(args.json)
    bench.run(args.suite, args.threads, args.quick, args.json, args.plot)
    return 0


def _tune(args: argparse.Namespace) -> int:
    from lamella import tuning

    if (args.model is None) == (args.problems is None):
        raise ValueError(f"expected either a model ({', '.join(MODELS)}, or a file) or --problems FILE")
    if args.model is not None and args.model not in MODELS and not Path(args.model).exists():
        raise ValueError(f"expected one of {', '.join(MODELS)}, or a saved model, got {args.model!r}")
    _check_folder(args.out)
    if args.threads is not None:
        lamella.set_num_threads(args.threads)
    found = tuning.read_problems(args.problems) if args.problems else _problems_of_model(args)
    entries = tuning.tune(found, args.rounds, say=lambda line: print(line, flush=True))
    tuning.save_tuning(entries, args.out)
    print(f"{len(entries)} of {len(found)} problems leave a choice; {args.out}; use it: LAMELLA_TUNING={args.out}")
    return 0


def _problems_of_model(args: argparse.Namespace) -> list[Any]:
    """What a training step on batches of each of the sizes computes."""
    from lamella import models, tuning
    from lamella.serialization import load_model

    if args.model in MODELS:
        channels, height, width = args.input or (1, 28, 28)
        model = models.create(args.model, in_channels=channels, num_classes=args.classes, image_size=(height, width))
    else:
        model = load_model(args.model)
        arguments = model.architecture["arguments"]
        size = arguments.get("image_size", 28)
        channels, height, width = args.input or (arguments.get("in_channels", 1), *((size, size) if isinstance(size, int) else size))

    def step(batch: int) -> None:
        images = np.random.default_rng(0).standard_normal((batch, channels, height, width)).astype(np.float32)
        output = model.train()(images)
        lamella.functional.cross_entropy(output, np.zeros(batch, np.int64)).backward()
        with lamella.no_grad():
            model.eval()(images)

    return list(dict.fromkeys(problem for batch in args.batch_size for problem in tuning.used_by(step, batch)))


# info


def _info(args: argparse.Namespace) -> int:
    from lamella.config import get_config, show_config

    if args.json:
        print(json.dumps(get_config(), indent=2))
    else:
        show_config()
    return 0


def _check(argv: list[str]) -> int:
    from lamella.testing.selfcheck import main as check

    return check(argv, Parser)


if __name__ == "__main__":
    sys.exit(main())
