"""Every configuration field: its default, meaning, unit and source. Experiments in configs/ change a few of them."""

import os
import traceback
import types
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sagan_jax.errors import InputError
from sagan_jax.renamed import CONFIG_FIELDS
from sagan_jax.runtime.documents import read_bytes
from sagan_jax.runtime.user_paths import local_path

INSTALLED, IN_CHECKOUT = Path(__file__).with_name("configs"), Path(__file__).parents[1] / "configs"
MOST_BYTES = 1 << 20  # of the file of a config
LIKE_OURS = "write it like those in configs/"
CONFIGS = INSTALLED if INSTALLED.is_dir() else IN_CHECKOUT


def default_config() -> ConfigDict:
    """Returns the base of every experiment: the authors' SAGAN for 128 px ImageNet."""
    config = ConfigDict()
    config.seed = 0  # every random number and the data order follow from this and the step

    config.data = data = ConfigDict()
    data.source = "tfds:imagenet2012"  # "prepared:DIR", "folder:PATH" (or zip, or CIFAR), "tfds:NAME" or "digits"
    data.split = "train"  # split of a TFDS data set
    data.image_key = "image"  # field of TFDS records with the image
    data.label_key = "label"  # field of TFDS records with the class; empty: images without classes
    data.data_dir = ""  # where TFDS data lies, here or gs://; empty: $TFDS_DATA_DIR or ~/tensorflow_datasets
    data.cache_dir = ""  # where prepared data in a bucket is copied to; empty: ~/.cache/sagan_jax
    data.resolution = 128  # side of the square images in pixels: 16, 32, ..., 512
    data.flip = False  # mirror each real image with probability 1/2; the authors do not
    data.class_sampling = "uniform"  # of generated labels, as the authors do; or "empirical": as in the data
    data.real_class_sampling = "empirical"  # each image once per epoch; or "uniform": each class equally often
    data.holdout = 0  # images that are never trained on, to see whether D learns the others by heart; scores have all
    data.residency = "auto"  # "device": all images on each device; "host": read as needed; "auto": device if small
    data.resident_gib = 4.0  # largest data set that "auto" puts on the devices, GiB of uint8 pixels
    data.read_threads = 16  # that load images, per process
    data.prefetch_steps = 2  # steps whose images are kept ready

    config.model = model = ConfigDict()
    model.num_classes = 1000  # 0: unconditional; -1: as many as the data set has
    model.latent_size = 128  # length of the standard normal input of the generator
    model.init = "xavier_uniform"  # or "orthogonal"
    model.attention = "pooled"  # keys and values, as the authors; or "unpooled"; or "multi-head", also pooled
    model.blocks = "residual"  # as the authors; or "bottleneck": two bottleneck blocks each, as BigGAN-deep
    model.compute_dtype = "float32"  # or "bfloat16", for convolutions and matrix products only
    model.spectral_epsilon = 1e-12  # authors' ops.py
    model.batch_norm_epsilon = 1e-5  # authors' ops.py
    model.batch_norm_momentum = 0.999  # of the live generator's running moments, which samples do not use
    model.rematerialize = False  # compute the insides of blocks twice to save memory; a third more work
    model.generator = ConfigDict()
    model.generator.channels = 64  # width at full resolution
    model.generator.multipliers = ()  # of channels, from 4x4 up; empty: the standard list of the resolution
    model.generator.attention = (32,)  # sides of the feature maps that attend
    model.generator.local_block = ()  # sides that have a local block of the same size instead, to compare with
    # What is kept at a largest singular value of 1: "kernels", as the authors do; "kernels and class tables" (gains and
    # biases of the conditional batch norm), as StudioGAN does; or "nothing", as before SAGAN. In D, all kernels are.
    model.generator.spectral_norm = "kernels"
    # What the blocks' batch norm follows: "labels", a table per norm, as the authors; "shared embedding", linear maps
    # of one vector per class; "hierarchical latents", of a piece of the latents as well (both as BigGAN); or "whole
    # latents", of all of them (as BigGAN-deep).
    model.generator.conditioning = "labels"
    model.discriminator = ConfigDict()
    model.discriminator.channels = 64
    model.discriminator.multipliers = ()  # of channels, one per block; empty: the standard list
    model.discriminator.attention = (32,)
    model.discriminator.local_block = ()
    model.discriminator.final_resolution = 4  # side of the last feature map; blocks beyond it do not halve

    config.train = train = ConfigDict()
    train.steps = 1_000_000  # generator updates in the whole run
    train.batch_size = 256  # images per update, over all devices
    train.discriminator_updates = 1  # per step (n_dis)
    train.steps_per_call = 1  # steps that the devices take without the host; for steps of a few milliseconds
    train.accumulation_steps = 1  # pieces an update's batch is cut into to save memory
    # What all images go through before D sees them, such as "color,translation,cutout" (Zhao et al. 2020) or "bgc"
    # (Karras et al. 2020), see augmentation/. For small data sets, which D learns by heart. Empty: nothing.
    train.augmentations = ""
    train.augmentation_probability = 1.0  # with which each change is made to an image
    # 0: with that probability; else one that follows D, so that the mean sign of its logits of real images is this.
    train.augmentation_target = 0.0  # 0.6 in Karras et al. 2020
    train.augmentation_images = 500_000  # real images while that probability goes from 0 to 1, likewise
    train.loss = "hinge"  # or "non_saturating", "wasserstein", "relativistic", "least_squares"
    # Terms added to the losses, such as "r1:10,every=16" or "lecam:0.3,bcr:10", see objectives/penalties.py.
    train.penalties = ""
    # The fraction of its images, those most real to D in each piece, that G learns from in the end; 1: all.
    train.top_k = 1.0  # 0.5 in Sinha et al. 2020
    train.top_k_steps = 100_000  # over which that fraction falls from 1
    train.ema_decay = 0.999  # of the averaged generator that makes the samples; rises to this, see step.py
    train.ema_start_step = 2000  # until then the average is the live generator

    config.optimizer = ConfigDict()
    config.optimizer.generator = _adam(learning_rate=1e-4)
    config.optimizer.discriminator = _adam(learning_rate=4e-4)

    config.mesh = mesh = ConfigDict()
    mesh.fsdp = 1  # devices that weights and optimiser state are spread over, for wide networks; 1: each has all

    config.sampling = sampling = ConfigDict()
    sampling.batch_size = 64  # images per call when sampling, over all devices
    sampling.standing_batches = 32  # batches whose moments make the averaged generator's batch norm

    config.log = log = ConfigDict()
    log.every_steps = 100  # a line of metrics
    log.pictures_every_steps = 5000  # a sample sheet and an attention picture; also after the last step
    log.sheet_classes = 10  # rows of the sheet, spread evenly over the classes
    log.sheet_columns = 10  # samples per row

    config.eval = evaluation = ConfigDict()
    evaluation.features = ""  # network to score samples with: "inception2015", "classifier", ...; empty: no scores
    evaluation.every_steps = 0  # how often; 0: only after the last step
    evaluation.num_samples = 10_000  # generated images
    evaluation.num_real = 0  # real images, picked at random; 0: all
    evaluation.real = ""  # data set to compare with, named as in data.source; empty: the training images
    evaluation.weights = ""  # file of the network's weights; empty: a download, for Inception
    evaluation.resize = "legacy"  # how Inception gets 299x299: TensorFlow 1's bilinear; or "clean": Pillow's bicubic
    evaluation.best = "frechet"  # score whose best checkpoint is kept in best/, see evaluation/scores.py
    evaluation.cache_dir = ""  # where features of real images are kept; empty: ~/.cache/sagan_jax

    config.faults = faults = ConfigDict()
    faults.on_nan = "stop"  # when a run diverges; or "rollback": go back to the newest checkpoint, with other latents
    faults.most_rollbacks = 3  # in a run
    faults.largest_loss = 1e6  # beyond it a loss counts as diverged, as if it were not finite
    faults.join_seconds = 300.0  # for which processes wait at the start until all are there
    faults.hang_seconds = 3600.0  # without a finished step, after which a process ends itself; 0: never

    config.checkpoint = checkpoint = ConfigDict()
    checkpoint.every_steps = 5000  # also after the last step
    checkpoint.keep = 3  # newest checkpoints kept
    checkpoint.keep_every_steps = 100_000  # these are kept for good
    return config


def _adam(learning_rate: float) -> ConfigDict:
    adam = ConfigDict()
    adam.learning_rate = learning_rate
    adam.beta1 = 0.0  # authors' train.py
    adam.beta2 = 0.999  # the TensorFlow default, which the authors use
    adam.epsilon = 1e-8
    adam.schedule = "constant"  # or "linear", "cosine": down to 0 at the last update
    adam.warmup_updates = 0  # linear rise from 0
    return adam


def config_names() -> list[str]:
    """Returns the names of the experiments that come with this package."""
    return sorted(path.stem for path in CONFIGS.glob("*.py"))


def load_config(name: str) -> ConfigDict:
    """Returns the config of an experiment.

    Args:
      name: one of `config_names()`, such as "digits"; or the path of a Python file with a function `get_config`. The
        file is run: take it only from somebody you trust.

    Raises:
      InputError: there is no such experiment or file, it fails, or what it returns is no config of this version.
    """
    known = name in config_names()
    path = CONFIGS / f"{name}.py" if known else local_path(name)
    if not known and path.suffix != ".py":
        raise InputError(
            "is unknown", field="config", value=name, remedy=f"{_choices()} or give the path of a .py file"
        )
    return _checked(_called(path, name), name)


def _called(path: Path, name: str) -> Any:
    """Runs the file of a config and returns what its `get_config` does; what it raises becomes one sentence."""
    try:
        source = read_bytes(path, MOST_BYTES)
    except OSError as error:
        remedy = f"{_choices()} or give a path such as configs/digits.py"
        raise InputError(f"cannot be read ({error.strerror})", field="config", value=name, remedy=remedy) from error
    module = types.ModuleType(path.stem)
    module.__file__ = os.fspath(path)
    try:
        exec(compile(source, path, "exec"), module.__dict__)
        if not callable(get_config := module.__dict__.get("get_config")):
            raise InputError("has no get_config()", field="config", value=name, remedy=LIKE_OURS)
        return get_config()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        reason = error.msg if isinstance(error, SyntaxError) else error
        wrong = f"cannot be used ({_place(error, path)}{type(error).__name__}: {reason})"
        remedy = "mend it; --verbosity=0 shows the traceback"
        raise InputError(wrong, field="config", value=name, remedy=remedy) from error


def _place(error: BaseException, path: Path) -> str:
    """Returns the line of the file in which something was raised, as the beginning of a sentence."""
    if isinstance(error, SyntaxError) and error.filename == os.fspath(path):
        return f"line {error.lineno}, "
    lines = [
        line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == os.fspath(path)
    ]
    return f"line {lines[-1]}, " if lines else ""


def _checked(config: Any, name: str) -> ConfigDict:
    """Returns a config with exactly the fields of `default_config`, of their types."""
    if not isinstance(config, ConfigDict):
        wrong = f"returns {type(config).__name__} from get_config(), no ConfigDict"
        raise InputError(wrong, field="config", value=name, remedy=LIKE_OURS)
    known, given = flat_fields(default_config()), flat_fields(config)
    for field, value in given.items():
        if field in CONFIG_FIELDS:
            remedy = f"set {CONFIG_FIELDS[field]} instead"
            raise InputError(f"sets {field}, which has another name now", field="config", value=name, remedy=remedy)
        if field not in known:
            remedy = "sagan_jax/config.py lists all fields"
            if not known.keys() & given.keys():
                remedy = f"it seems to belong to another project; {remedy}"
            raise InputError(f"sets {field}, which is unknown", field="config", value=name, remedy=remedy)
        wanted = type(known[field])
        if type(value) is not wanted and not (type(value) is int and wanted is float):
            wrong = f"sets {field} to {type(value).__name__} {value!r}"
            raise InputError(wrong, field="config", value=name, remedy=f"it must be {wanted.__name__}")
    for field in known.keys() - given.keys():
        remedy = "start from sagan_jax.config.default_config()"
        raise InputError(f"lacks {field}", field="config", value=name, remedy=remedy)
    return ConfigDict(config)


def _choices() -> str:
    return f"choose from {', '.join(config_names())},"


def flat_fields(config: ConfigDict) -> dict[str, Any]:
    """Returns all fields by their dotted names, such as "train.steps"."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        inner = flat_fields(value) if isinstance(value, ConfigDict) else {}
        flat |= {f"{name}.{field}": content for field, content in inner.items()} if inner else {name: value}
    return flat
