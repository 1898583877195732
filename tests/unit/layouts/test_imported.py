"""Weights of other programs: their images and logits are ours, and what does not fit is named."""

import jax
import numpy as np
import pytest
import scipy.signal
from places import ROOT
from tiny import applied

from sagan_jax import export, sample
from sagan_jax.errors import InputError
from sagan_jax.layouts.halving import BlockShape, sides
from sagan_jax.layouts.imported import import_model
from sagan_jax.layouts.names import LAYOUTS
from sagan_jax.layouts.stored import Stored, tensorflow_kernel, torch_kernel
from sagan_jax.models.blocks import DiscriminatorBlock
from sagan_jax.models.layers import LayerConfig
from sagan_jax.portable.folder import load_model
from sagan_jax.runtime.sharding import make_mesh
from sagan_jax.weights.files import read_weights

GOLDEN = ROOT / "tests" / "golden"
TORCH = ("studiogan", "mmgeneration", "biggan-pytorch", "torch-sagan")
NAMES = ("cat", "dog", "fish")
CONVERTED = {"inplace_relu": True, "channel_order": "rgb"}
# Files, and how they are imported where that is not as the layout has it.
FILES = {layout: {} for layout in TORCH} | {"studiogan_embeddings": {}, "mmgeneration_converted": CONVERTED}


def stored(file):
    """The arrays of a file, and what torch made of them."""
    with np.load(GOLDEN / f"layouts_{file}.npz") as golden:
        arrays = {name.removeprefix("state/"): golden[name] for name in golden if name.startswith("state/")}
        return arrays, {name: golden[name] for name in golden if not name.startswith("state/")}


@pytest.mark.parametrize("file", FILES)
def test_images_and_logits_are_those_of_torch(file):
    arrays, golden = stored(file)
    model = import_model(arrays, file.partition("_")[0], "weights.pth", NAMES, **FILES[file])
    images = np.moveaxis(golden["images"], 1, -1)
    shown = images[..., ::-1] if file == "mmgeneration" else images  # which is BGR
    labels = golden["labels"].astype(np.int32)
    generator, discriminator = model.card.build_generator(), model.card.build_discriminator()
    found = applied(generator, model.variables, golden["latents"], labels, train=False)
    np.testing.assert_allclose(found, shown, atol=1e-4)
    assert model.card.generator.attention == (8,)
    assert model.card.class_names == NAMES
    if file == "studiogan_embeddings":  # a generator alone
        assert discriminator is None
        return
    assert model.card.discriminator.resolutions == (8, 4, 4)
    assert model.card.inplace_relu == (file in ("studiogan", "mmgeneration_converted"))
    logits = applied(discriminator, model.discriminator_variables, shown, labels)
    np.testing.assert_allclose(logits, golden["logits"], atol=1e-4, rtol=1e-4)


def test_tables_that_are_spectrally_normalised_mean_another_epsilon():
    for file, epsilon in (("mmgeneration", 1e-5), ("mmgeneration_converted", 1e-4)):
        assert import_model(stored(file)[0], "mmgeneration", "a.pth").card.batch_norm_epsilon == epsilon


@pytest.mark.parametrize(("features", "downsample"), [(3, False), (5, True)])
def test_activated_shortcuts_see_what_is_positive(features, downsample):
    """A block with kernels of 0 but in the shortcut, by numpy alone."""
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    block = DiscriminatorBlock(features, downsample, LayerConfig(spectral_norm=()), inplace_relu=True)
    params = block.init(jax.random.key(0), x)["params"]
    params["conv_1"] = jax.tree.map(np.zeros_like, params["conv_1"])
    expected = np.maximum(x, 0)
    if downsample:
        squares = np.stack(
            [[scipy.signal.convolve2d(channel, np.full((2, 2), 0.25), "valid")[::2, ::2] for channel in image]
             for image in np.moveaxis(expected, -1, 1)]
        )  # fmt: skip
        expected = np.moveaxis(squares, 1, -1) @ np.asarray(params["shortcut"]["kernel"])[0, 0]
    np.testing.assert_allclose(block.apply({"params": params}, x), expected, atol=1e-5)


SIDES = {  # blocks, side of the images, final side that a person gave -> sides; None: they are asked for it
    "this package's, 16 px": (((8, 3, True), (16, 8, True), (16, 16, False)), 16, None, (8, 4, 4)),
    "the same, ending at 8 px": (((8, 3, True), (16, 8, True), (16, 16, False)), 16, 8, (8, 8, 8)),
    "BigGAN-PyTorch and StudioGAN, 64 px": (
        ((1, 3, True), (2, 1, True), (4, 2, True), (8, 4, True), (16, 8, True)), 64, None, (32, 16, 8, 4, 4)
    ),
    "all of them, CIFAR-10": (((4, 3, True), (4, 4, True), (4, 4, False), (4, 4, False)), 32, None, (16, 8, 8, 8)),
    "widens when it has halved": (((4, 3, True), (4, 4, True), (8, 4, True)), 32, 8, (16, 8, 8)),
    "not down to 4 px": (((4, 3, True), (8, 4, True)), 64, None, None),
    "the same, said": (((4, 3, True), (8, 4, True)), 64, 32, (32, 32)),
}  # fmt: skip


@pytest.mark.parametrize("name", SIDES)
def test_which_blocks_halve(name):
    blocks, resolution, final, expected = SIDES[name]
    shapes = [BlockShape(before, width, shortcut) for width, before, shortcut in blocks]
    if expected is None:
        with pytest.raises(InputError, match="--final-resolution"):
            sides(shapes, resolution, final)
        return
    found, note = sides(shapes, resolution, final)
    assert found == expected
    certain = final or all(width == before for width, before, _ in blocks[1:])
    assert bool(note) != bool(certain)


def test_what_was_assumed_of_a_discriminator_is_said():
    arrays, _ = stored("torch-sagan")
    assumed, said = (import_model(arrays, "torch-sagan", "a.pth", final_resolution=final) for final in (None, 8))
    assert assumed.card.discriminator.resolutions == (8, 4, 4)
    assert said.card.discriminator.resolutions == (8, 8, 8)
    assert "which of 1 widening blocks of the discriminator halve" in assumed.notes[0]
    assert assumed.notes[0] in assumed.card.weights
    assert not said.notes
    with pytest.raises(InputError, match="--final-resolution=16 cannot be reached by halving"):
        import_model(arrays, "torch-sagan", "a.pth", final_resolution=16)


def test_kernels_of_zeros_stay_zeros_and_other_ones_need_a_spectral_norm():
    zeros, ones, u = np.zeros((3, 2)), np.ones((3, 2)), np.zeros((1, 3))
    for names in (("a.weight_orig", "a.weight_u"), ("a.weight", "a.u0")):
        first = u[0] if names[1].endswith("_u") else u
        assert not torch_kernel(Stored({names[0]: zeros, names[1]: first}, "a.pth"), "a").any()
        with pytest.raises(InputError, match="the spectral norm of a in a.pth is 0"):
            torch_kernel(Stored({names[0]: ones, names[1]: first}, "a.pth"), "a")
    found = tensorflow_kernel(Stored({"a/w": zeros, "a/u": np.zeros((1, 2))}, "a"), "a", "w")
    assert found.shape == zeros.shape
    assert not found.any()


PLACES = {  # how the names of torch-sagan's arrays begin elsewhere
    "data parallel": {"g.": "module.", "d.": "d.module."},
    "nested": {"g.": "nets.netG.", "d.": "nets.netD."},
    "an average": {"g.": "G_ema.", "d.": "D."},
}


@pytest.mark.parametrize("name", PLACES)
def test_networks_are_found_wherever_they_are(name):
    arrays, _ = stored("torch-sagan")
    moved = {PLACES[name][key[:2]] + key[2:]: value for key, value in arrays.items()}
    if name != "data parallel":
        moved["optimizer.state.0.exp_avg"] = np.zeros(3)
    plain, found = import_model(arrays, "torch-sagan", "a.pth"), import_model(moved, "torch-sagan", "a.pth")
    jax.tree.map(np.testing.assert_array_equal, plain[1:3], found[1:3])
    assert ("1 arrays belong to neither network" in " ".join(found.notes)) == (name != "data parallel")


def test_several_networks_that_may_be_meant_are_named():
    arrays, _ = stored("torch-sagan")
    twice = arrays | {f"old.{name}": value for name, value in arrays.items()}
    with pytest.raises(InputError, match=r"has 2 networks that may be the generator \(g., old.g.\)"):
        import_model(twice, "torch-sagan", "a.pth")
    with pytest.raises(InputError, match=r"no generator as .* its names begin with nets., old.: choose"):
        import_model({"nets.a": np.zeros(3), "old.b": np.zeros(3)}, "torch-sagan", "a.pth")


@pytest.mark.parametrize("layout", TORCH)
def test_a_generator_alone_is_enough(layout):
    arrays, _ = stored(layout)
    alone = {name: value for name, value in arrays.items() if not name.startswith(("d.", "D.", "discriminator."))}
    model = import_model(alone, layout, "weights.pth")
    assert model.discriminator_variables is None
    assert model.card.class_names == ("class 0", "class 1", "class 2")


def test_the_live_generator_is_taken_where_there_is_no_average():
    arrays, _ = stored("mmgeneration")
    live = {name.replace("generator_ema.", "generator."): value for name, value in arrays.items()}
    both = arrays | {name: 2 * value for name, value in live.items() if name.startswith("generator.")}
    models = [import_model(which, "mmgeneration", "a.pth") for which in (arrays, live, both)]
    for other in models[1:]:
        jax.tree.map(np.testing.assert_array_equal, models[0].variables, other.variables)


def authors_arrays():
    """A 32 px network with the variables of the authors' code, attention at 16x16 in both networks."""
    random = np.random.default_rng(0)
    arrays = {}

    def convolution(scope, size, cin, cout, *, bias=True):
        arrays[f"{scope}/w"] = random.standard_normal((size, size, cin, cout))
        arrays[f"{scope}/u"] = random.standard_normal((1, cout))
        if bias:
            arrays[f"{scope}/biases"] = random.standard_normal(cout)

    def attention(scope, width):
        sizes = {"theta": (width, width // 8), "phi": (width, width // 8), "g": (width, width // 2)}
        for name, (cin, cout) in (sizes | {"attn": (width // 2, width)}).items():
            convolution(f"{scope}/sn_conv_{name}", 1, cin, cout, bias=False)
        arrays[f"{scope}/sigma_ratio"] = np.array(0.25)

    def dense(scope, cin, cout):
        arrays[f"{scope}/Matrix"] = random.standard_normal((cin, cout))
        arrays[f"{scope}/u"], arrays[f"{scope}/bias"] = random.standard_normal((1, cout)), random.standard_normal(cout)

    dense("model/g_snh0", 8, 16 * 32)
    for number, (cin, cout) in enumerate([(32, 24), (24, 16), (16, 8)], start=1):
        scope = f"model/g_block{number}"
        for name, sizes in {"snconv1": (3, cin, cout), "snconv2": (3, cout, cout), "snconv3": (1, cin, cout)}.items():
            convolution(f"{scope}/{name}", *sizes)
        for name, width in (("cbn_0", cin), ("cbn_1", cout)):
            for table in ("gamma", "beta"):
                arrays[f"{scope}/{name}/{table}"] = random.standard_normal((3, width))
            arrays[f"{scope}/{name}/mean"] = random.standard_normal((1, 1, 1, width))
            arrays[f"{scope}/{name}/var"] = random.random((1, 1, 1, width)) + 0.5
    attention("model/g_non_local", 16)
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        arrays[f"model/g_bn/{name}"] = random.random(8) + 0.5
    convolution("model/g_snconv_last", 3, 8, 3)
    for scope, cin, cout, halved in (
        ("d_optimized_block1", 3, 16, True),
        ("d_block2", 16, 24, True),
        ("d_block3", 24, 32, True),
        ("d_block4", 32, 32, False),
    ):
        convolution(f"model/{scope}/sn_conv1", 3, cin, cout)
        convolution(f"model/{scope}/sn_conv2", 3, cout, cout)
        if halved:
            convolution(f"model/{scope}/sn_conv3", 1, cin, cout)
    attention("model/d_non_local", 16)
    dense("model/d_sn_linear", 32, 1)
    arrays["model/d_embedding/embedding_map"] = random.standard_normal((3, 32))
    arrays["model/d_embedding/u"] = random.standard_normal((1, 3))
    # What else its trainer leaves: of two Adams, and of synchronous replicas.
    for slot in ("Adam", "Adam_1"):
        arrays[f"model/g_snh0/Matrix/{slot}"] = np.zeros((8, 512))
    for power in ("beta1_power", "beta2_power", "beta1_power_1", "beta2_power_1"):
        arrays[power] = np.array(0.5)
    for counter in ("global_step", "d_step", "g_step"):
        arrays[counter] = np.array(1000)
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def divided(weight, u):
    """By the sigma of the authors' `spectral_normed_weight`, written with their shapes."""
    matrix = weight.reshape(-1, weight.shape[-1]).astype(np.float64)
    v = u @ matrix.T
    along = v / np.linalg.norm(v) @ matrix
    return weight / np.linalg.norm(along)


def test_the_authors_variables_have_their_places():
    arrays = authors_arrays()
    model = import_model(arrays, "authors", "model.ckpt")
    card, params = model.card, model.variables["params"]
    assert (card.resolution, card.latent_size, card.num_classes) == (32, 8, 3)
    assert card.generator.widths == (32, 24, 16, 8)
    assert (card.generator.attention, card.discriminator.attention) == ((16,), (16,))
    assert card.discriminator.resolutions == (16, 8, 4, 4)
    pairs = (
        (params["dense"], "g_snh0", "Matrix"),
        (params["block_16"]["conv_1"], "g_block2/snconv2", "w"),
        (params["block_8"]["shortcut"], "g_block1/snconv3", "w"),
        (params["attention_16"]["output"], "g_non_local/sn_conv_attn", "w"),
        (model.discriminator_variables["params"]["block_0"]["conv_0"], "d_optimized_block1/sn_conv1", "w"),
        (model.discriminator_variables["params"]["logit"], "d_sn_linear", "Matrix"),
    )
    for ours, theirs, name in pairs:
        expected = divided(arrays[f"model/{theirs}/{name}"], arrays[f"model/{theirs}/u"])
        np.testing.assert_allclose(ours["kernel"], expected, rtol=1e-5)
    table = arrays["model/d_embedding/embedding_map"]
    expected = divided(table.T, arrays["model/d_embedding/u"]).T
    np.testing.assert_allclose(model.discriminator_variables["params"]["embedding"]["kernel"], expected, rtol=1e-5)
    moments = model.variables["batch_stats"]["block_32"]["norm_1"]
    np.testing.assert_allclose(moments["var"], arrays["model/g_block3/cbn_1/var"].reshape(-1))
    np.testing.assert_allclose(params["block_32"]["norm_1"]["scale"], arrays["model/g_block3/cbn_1/gamma"])
    assert float(params["attention_16"]["gamma"]) == 0.25


def test_a_checkpoint_of_tensorflow_is_read(tmp_path):
    tf = pytest.importorskip("tensorflow")
    arrays = authors_arrays()
    variables = {name: tf.Variable(value) for name, value in arrays.items()}
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "model.ckpt"),
        tensor_names=list(variables),
        shape_and_slices=[""] * len(variables),
        tensors=list(variables.values()),
    )
    for name in ("model.ckpt", "model.ckpt.index"):
        found = read_weights(tmp_path / name)
        assert found.keys() == arrays.keys()
        np.testing.assert_array_equal(found["model/g_snh0/Matrix"], arrays["model/g_snh0/Matrix"])


def without(name):
    return lambda arrays: arrays.pop(name)


def changed(name, change):
    return lambda arrays: arrays.update({name: change(arrays[name])})


WRONG = {
    "missing": (without("g.first.bias"), r"weights.pth lacks g.first.bias"),
    "missing part": (without("g.body.0.norm1.norm.running_mean"), "lacks g.body.0.norm1.norm.running_mean"),
    "extra": (lambda arrays: arrays.update({"g.more.weight": np.zeros(3)}), r"does not know \(g.more.weight\)"),
    "not finite": (changed("g.last.conv.bias", lambda value: value * np.nan), "g.last.conv.bias in .* is not finite"),
    "number for vector": (changed("g.norm.weight", lambda value: value[0]), r"g.norm.weight in .* has the shape \(\)"),
    "vector for matrix": (
        changed("g.first.parametrizations.weight.original", lambda value: value[0]),
        r"has the shape \(8,\), but 2 or 4 dimensions were expected",
    ),
    "matrix for kernel": (
        changed("g.last.conv.parametrizations.weight.original", lambda value: value[:, :, 0, 0]),
        "networks that ours cannot express",
    ),
    "vector for table": (
        changed("g.body.0.norm1.table.weight", lambda value: value[0]),
        "but 2 dimensions were expected",
    ),
    "other shape": (changed("g.norm.weight", lambda value: value[:3]), r"norm/scale in .* has the shape \(3,\)"),
    "no generator": (
        lambda arrays: [arrays.pop(name) for name in list(arrays) if name.startswith("g.")],
        "has no generator as the PyTorch peer",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_named(name):
    damage, message = WRONG[name]
    arrays, _ = stored("torch-sagan")
    damage(arrays)
    with pytest.raises(InputError, match=message):
        import_model(arrays, "torch-sagan", "weights.pth")


@pytest.mark.parametrize("value", [np.zeros(()), np.zeros(3), np.zeros((2, 2))])
def test_the_authors_variables_of_other_dimensions_are_named(value):
    for name in ("model/g_snh0/Matrix", "model/g_block1/snconv1/w", "model/d_embedding/embedding_map"):
        with pytest.raises(InputError, match="model.ckpt"):
            import_model(authors_arrays() | {name: value}, "authors", "model.ckpt")


def test_a_layout_that_is_not_the_files():
    arrays, _ = stored("torch-sagan")
    with pytest.raises(InputError, match="has no generator as POSTECH-CVLab"):
        import_model(arrays, "studiogan", "weights.pth")
    with pytest.raises(InputError, match="--layout=mmgen is unknown: did you mean mmgeneration"):
        import_model(arrays, "mmgen", "weights.pth")
    with pytest.raises(InputError, match="has 2 names, but weights.pth has 3 classes: one each"):
        import_model(arrays, "torch-sagan", "weights.pth", ("a", "b"))
    assert set(LAYOUTS) == {*TORCH, "authors"}


def test_from_a_file_to_images(tmp_path, capsys):
    arrays, _ = stored("torch-sagan")
    for name, prefix in (("g", "g."), ("d", "d.")):
        part = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
        np.savez(tmp_path / f"{name}.npz", **part)
    (tmp_path / "names.txt").write_text("cat\ndog\nfish\n")
    flags = [f"--import-from={tmp_path / 'g.npz'}", "--layout=torch-sagan", f"--class-names={tmp_path / 'names.txt'}"]
    flags += [f"--discriminator-from={tmp_path / 'd.npz'}", f"--out={tmp_path / 'model'}", "--no-program"]
    assert export.main(flags) == 0
    assert (tmp_path / "model" / "discriminator.safetensors").exists()
    assert sample.main([f"--model={tmp_path / 'model'}", "--classes=dog", "--num=2", f"--out={tmp_path / 'made'}"]) == 0
    assert sorted(file.name for file in (tmp_path / "made" / "images").iterdir()) == [
        "000000-dog.png",
        "000001-dog.png",
    ]
    capsys.readouterr()
    assert export.main([f"--import-from={tmp_path / 'x.pth'}", "--layout=studiogan", f"--out={tmp_path}"]) == 2
    assert "there is no file of weights" in capsys.readouterr().err


def test_a_file_that_differs_from_its_layout(tmp_path):
    arrays, golden = stored("mmgeneration_converted")
    np.savez(tmp_path / "a.npz", **arrays)
    flags = [f"--import-from={tmp_path / 'a.npz'}", "--layout=mmgeneration", f"--out={tmp_path / 'model'}"]
    assert export.main([*flags, "--no-program", "--inplace-relu", "--channel-order=rgb"]) == 0
    model = load_model(str(tmp_path / "model"), make_mesh(), 16, with_discriminator=True)
    images, labels = np.moveaxis(golden["images"], 1, -1), golden["labels"].astype(np.int32)
    found = applied(model.card.build_generator(), model.variables, golden["latents"], labels, train=False)
    np.testing.assert_allclose(found, images, atol=1e-4)
    logits = applied(model.discriminator, model.discriminator_variables, images, labels)
    np.testing.assert_allclose(logits, golden["logits"], atol=1e-4, rtol=1e-4)


def test_names_of_classes_that_are_no_text(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", **stored("torch-sagan")[0])
    (tmp_path / "names.txt").write_bytes("Bär\n".encode("latin-1"))
    flags = [f"--import-from={tmp_path / 'a.npz'}", "--layout=torch-sagan", f"--out={tmp_path / 'model'}"]
    assert export.main([*flags, f"--class-names={tmp_path / 'names.txt'}"]) == 2
    assert "names.txt is no UTF-8 text" in capsys.readouterr().err
