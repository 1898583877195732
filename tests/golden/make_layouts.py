"""Makes layouts_*.npz: tiny SAGANs as other programs keep them, and what torch makes of them; see README.md.

python tests/golden/make_layouts.py [torch_sagan.py]

The modules here restate what those programs compute, with the names that they give to their layers, and leave spectral
normalisation to torch where they do. The argument is the PyTorch peer of our benchmarks, whose own modules are used.
"""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import spectral_norm

HERE = Path(__file__).parent
CLASSES, LATENT, IMAGES = 3, 8, 4
G_WIDTHS, D_WIDTHS, HALVINGS = (16, 8, 8), (8, 16, 16), 2  # 16 px, attention after the first block of both


def put(module, name, child):
    """Gives a module a child by a dotted name."""
    *path, last = name.split(".")
    for part in path:
        if not hasattr(module, part):
            module.add_module(part, nn.Module())
        module = getattr(module, part)
    module.add_module(last, child)
    return child


class StoredU(nn.Module):
    """A layer divided as BigGAN-PyTorch does it: one step of the power iteration from u0 at every call."""

    def __init__(self, layer):
        super().__init__()
        self.weight, self.bias, self.apply_with = layer.weight, getattr(layer, "bias", None), type(layer)
        self.padding = getattr(layer, "padding", 0)
        self.register_buffer("u0", torch.randn(1, len(self.weight)))
        self.register_buffer("sv0", torch.ones(1))

    def forward(self, x):
        matrix = self.weight.flatten(1)
        with torch.no_grad():
            v = functional.normalize(self.u0 @ matrix)
            u = functional.normalize(v @ matrix.T)
            if self.training:
                self.u0.copy_(u)
        weight = self.weight / (v @ matrix.T @ u.T).squeeze()
        if self.apply_with is nn.Conv2d:
            return functional.conv2d(x, weight, self.bias, padding=self.padding)
        return (
            functional.embedding(x, weight)
            if self.apply_with is nn.Embedding
            else functional.linear(x, weight, self.bias)
        )


class Norm(nn.Module):
    """Batch norm with a gain and a bias per class: names of moments, gain and bias as the program has them."""

    def __init__(self, style, width):
        super().__init__()
        self.style, self.eps = style, style["epsilon"]
        holder = put(self, style["moments"], nn.Module()) if style["moments"] else self
        mean, var = style["moment_names"]
        holder.register_buffer(mean, torch.randn(width))
        holder.register_buffer(var, torch.rand(width) + 0.5)
        self.moments = lambda: (getattr(holder, mean), getattr(holder, var))
        one_hot, norm = style["one_hot"], style["table_norm"]
        for name in style["tables"]:
            table = nn.Linear(CLASSES, width, bias=False) if one_hot else nn.Embedding(CLASSES, width)
            put(self, name, norm(table))

    def forward(self, x, labels):
        labels = functional.one_hot(labels, CLASSES).float() if self.style["one_hot"] else labels
        gain, bias = (getattr(self, name)(labels)[:, :, None, None] for name in self.style["tables"])
        return functional.batch_norm(x, *self.moments(), eps=self.eps) * (1 + gain) + bias


class Attention(nn.Module):
    def __init__(self, style, width):
        super().__init__()
        shapes = ((width, width // 8), (width, width // 8), (width, width // 2), (width // 2, width))
        for name, (cin, cout) in zip(style["attention"][:4], shapes, strict=True):
            put(self, name, style["norm"](nn.Conv2d(cin, cout, 1, bias=False)))
        self.style = style
        self.register_parameter(style["attention"][4], nn.Parameter(torch.full(style["gamma_shape"], 0.7)))

    def forward(self, x, labels=None):
        query, key, value, out = (self.get_submodule(name) for name in self.style["attention"][:4])
        q, k, v = (
            query(x).flatten(2),
            functional.max_pool2d(key(x), 2).flatten(2),
            functional.max_pool2d(value(x), 2).flatten(2),
        )
        weights = torch.softmax(q.transpose(1, 2) @ k, -1)
        attended = (v @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + getattr(self, self.style["attention"][4]) * out(attended)


class Block(nn.Module):
    def __init__(self, style, cin, cout, resample, first=False):
        super().__init__()
        self.style, self.resample, self.first = style, resample, first
        convolutions = [(cin, cout, 3), (cout, cout, 3)] + ([(cin, cout, 1)] if resample or cin != cout else [])
        for name, (a, b, size) in zip(style["convolutions"], convolutions, strict=False):
            put(self, name, style["norm"](nn.Conv2d(a, b, size, padding=size // 2)))
        if resample == "up":
            for name, width in zip(style["norms"], (cin, cout), strict=True):
                put(self, name, Norm(style, width))
        self.own_shortcut = len(convolutions) == 3

    def forward(self, x, labels=None):
        first, second, shortcut = (
            self.get_submodule(name) if i < 2 or self.own_shortcut else nn.Identity()
            for i, name in enumerate(self.style["convolutions"])
        )
        if self.resample == "up":
            norms = [self.get_submodule(name) for name in self.style["norms"]]
            up = lambda y: functional.interpolate(y, scale_factor=2)  # noqa: E731
            h = first(up(functional.relu(norms[0](x, labels))))
            return second(functional.relu(norms[1](h, labels))) + shortcut(up(x))
        # Activated in place, x is changed where the shortcut sees it.
        h = second(functional.relu(first(x if self.first else functional.relu(x, inplace=self.style["in_place"]))))
        down = lambda y: functional.avg_pool2d(y, 2) if self.resample else y  # noqa: E731
        return down(h) + down(shortcut(x))


class Generator(nn.Module):
    def __init__(self, style):
        super().__init__()
        self.style, self.order = style, []
        put(self, style["dense"], style["norm"](nn.Linear(LATENT, 16 * G_WIDTHS[0])))
        parts = [Block(style, G_WIDTHS[0], G_WIDTHS[1], "up"), Attention(style, G_WIDTHS[1])]
        parts += [Block(style, G_WIDTHS[1], G_WIDTHS[2], "up")]
        for name, part in zip(style["g_parts"], parts, strict=True):
            put(self, name, part)
        mean, var = style["last_moment_names"]
        last = put(self, style["last_norm"], nn.Module())
        last.register_buffer(mean, torch.randn(G_WIDTHS[2]))
        last.register_buffer(var, torch.rand(G_WIDTHS[2]) + 0.5)
        for name, start in zip(style["affine"], (1.0, 0.0), strict=True):
            last.register_parameter(name, nn.Parameter(start + 0.3 * torch.randn(G_WIDTHS[2])))
        put(self, style["to_image"], style["norm"](nn.Conv2d(G_WIDTHS[2], 3, 3, padding=1)))

    def forward(self, latents, labels):
        x = self.get_submodule(self.style["dense"])(latents).view(len(latents), -1, 4, 4)
        for name in self.style["g_parts"]:
            x = self.get_submodule(name)(x, labels)
        last = self.get_submodule(self.style["last_norm"])
        moments = (getattr(last, name) for name in self.style["last_moment_names"])
        gain, bias = (getattr(last, name) for name in self.style["affine"])
        x = functional.relu(functional.batch_norm(x, *moments, gain, bias, eps=self.style["epsilon"]))
        return torch.tanh(self.get_submodule(self.style["to_image"])(x))


class Discriminator(nn.Module):
    def __init__(self, style):
        super().__init__()
        self.style = style
        widths = (3, *D_WIDTHS)
        parts = [
            Block(style, a, b, "down" if i < HALVINGS else "", first=i == 0)
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        ]
        parts.insert(1, Attention(style, D_WIDTHS[0]))
        for name, part in zip(style["d_parts"], parts, strict=True):
            put(self, name, part)
        put(self, style["decision"], style["norm"](nn.Linear(D_WIDTHS[-1], 1)))
        put(self, style["embedding"], style["norm"](nn.Embedding(CLASSES, D_WIDTHS[-1])))

    def forward(self, x, labels):
        for name in self.style["d_parts"]:
            x = self.get_submodule(name)(x)
        h = functional.relu(x).sum((2, 3))
        decision, embedding = (self.get_submodule(self.style[name]) for name in ("decision", "embedding"))
        return decision(h)[:, 0] + (embedding(labels) * h).sum(1)


COMMON = {"moment_names": ("running_mean", "running_var"), "last_moment_names": ("running_mean", "running_var")}
COMMON |= {"affine": ("weight", "bias"), "one_hot": False, "gamma_shape": (), "table_norm": lambda table: table}
COMMON |= {"in_place": False}
STYLES = {
    "studiogan": COMMON
    | {
        "norm": lambda layer: spectral_norm(layer, eps=1e-6),
        "table_norm": lambda layer: spectral_norm(layer, eps=1e-6),
        "epsilon": 1e-4,
        "one_hot": True,
        "tables": ("gain", "bias"),
        "moments": "bn",
        "attention": ("conv1x1_theta", "conv1x1_phi", "conv1x1_g", "conv1x1_attn", "sigma"),
        "gamma_shape": (1,),
        "convolutions": ("conv2d1", "conv2d2", "conv2d0"),
        "norms": ("bn1", "bn2"),
        "dense": "linear0",
        "g_parts": ("blocks.0.0", "blocks.1.0", "blocks.2.0"),
        "last_norm": "bn4",
        "to_image": "conv2d5",
        "d_parts": ("blocks.0.0", "blocks.1.0", "blocks.2.0", "blocks.3.0"),
        "decision": "linear1",
        "embedding": "embedding",
        "in_place": True,
    },
    "mmgeneration": COMMON
    | {
        "norm": lambda layer: spectral_norm(layer, eps=1e-8),
        "epsilon": 1e-5,
        "tables": ("weight_embedding", "bias_embedding"),
        "moments": "norm",
        "attention": ("theta.conv", "phi.conv", "g.conv", "o.conv", "gamma"),
        "convolutions": ("conv_1.conv", "conv_2.conv", "shortcut.conv"),
        "norms": ("norm_1", "norm_2"),
        "dense": "noise2feat",
        "g_parts": ("conv_blocks.0", "conv_blocks.1", "conv_blocks.2"),
        "last_norm": "to_rgb.bn",
        "to_image": "to_rgb.conv",
        "d_parts": ("from_rgb", "conv_blocks.0", "conv_blocks.1", "conv_blocks.2"),
        "decision": "decision",
        "embedding": "proj_y",
    },
    "biggan-pytorch": COMMON
    | {
        "norm": StoredU,
        "epsilon": 1e-5,
        "tables": ("gain", "bias"),
        "moments": "",
        "moment_names": ("stored_mean", "stored_var"),
        "last_moment_names": ("stored_mean", "stored_var"),
        "affine": ("gain", "bias"),
        "attention": ("theta", "phi", "g", "o", "gamma"),
        "convolutions": ("conv1", "conv2", "conv_sc"),
        "norms": ("bn1", "bn2"),
        "dense": "linear",
        "g_parts": ("blocks.0.0", "blocks.0.1", "blocks.1.0"),
        "last_norm": "output_layer.0",
        "to_image": "output_layer.2",
        "d_parts": ("blocks.0.0", "blocks.0.1", "blocks.1.0", "blocks.2.0"),
        "decision": "linear",
        "embedding": "embed",
    },
}
# StudioGAN's generator in its older versions, and both of its networks as mmgeneration has converted them.
STYLES["studiogan_embeddings"] = STYLES["studiogan"] | {"one_hot": False, "tables": ("embed0", "embed1")}
del STYLES["studiogan_embeddings"]["d_parts"]
STYLES["mmgeneration_converted"] = STYLES["mmgeneration"] | {
    name: STYLES["studiogan"][name] for name in ("norm", "table_norm", "epsilon", "in_place")
}
PREFIXES = {
    "studiogan": ("", "D."),
    "mmgeneration": ("generator_ema.", "discriminator."),
    "biggan-pytorch": ("", "D."),
    "torch-sagan": ("g.", "d."),
}


def peer(path):
    """Both networks of the PyTorch peer."""
    spec = importlib.util.spec_from_file_location("torch_sagan", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["torch_sagan"] = module
    spec.loader.exec_module(module)
    rates = ((1e-4, 4e-4), (0.0, 0.999))
    config = module.Config(16, CLASSES, G_WIDTHS, D_WIDTHS, (1, 1), HALVINGS, *rates, 1, False, LATENT)
    return module.Generator(config), module.Discriminator(config)


def save(layout, generator, discriminator):
    """Trained weights are imitated by random ones; u and v come from a few calls in training."""
    with torch.no_grad():
        for name, value in (
            *generator.state_dict().items(),
            *(discriminator.state_dict().items() if discriminator else ()),
        ):
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "bias")):
                value.normal_(0, 0.3)
            elif name.endswith("gamma"):
                value.fill_(0.7)
            elif name.endswith("table.weight"):
                value.add_(0.3 * torch.randn_like(value))
        latents, labels = torch.randn(IMAGES, LATENT), torch.arange(IMAGES) % CLASSES
        moments = {name: value.clone() for name, value in generator.state_dict().items() if "running" in name}
        for _ in range(2):
            images = generator.train()(latents, labels)
            if discriminator:
                discriminator.train()(images, labels)
        generator.load_state_dict(moments, strict=False)
        images = generator.eval()(latents, labels)
        golden = {"latents": latents, "labels": labels, "images": images}
        prefixes = PREFIXES[layout.partition("_")[0]]
        state = {prefixes[0] + name: value for name, value in generator.state_dict().items()}
        if discriminator:
            golden["logits"] = discriminator.eval()(images, labels)
            state |= {prefixes[1] + name: value for name, value in discriminator.state_dict().items()}
    golden |= {f"state/{name}": value for name, value in state.items()}
    np.savez_compressed(HERE / f"layouts_{layout}.npz", **{name: value.numpy() for name, value in golden.items()})


if __name__ == "__main__":
    torch.manual_seed(0)
    for layout, style in STYLES.items():
        save(layout, Generator(style), Discriminator(style) if "d_parts" in style else None)
    if len(sys.argv) > 1:
        save("torch-sagan", *peer(sys.argv[1]))
