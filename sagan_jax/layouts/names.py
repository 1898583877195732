"""The layouts of other programs, read from their code; a new layout is an entry here."""

from collections.abc import Callable

import numpy as np

from sagan_jax.layouts.layout import AttentionNames, Block, Layout, Network
from sagan_jax.layouts.stored import Stored, torch_kernel


def _embeddings(gain: str, bias: str) -> Callable[[Stored, str], tuple[np.ndarray, np.ndarray]]:
    """Returns what takes embeddings [classes, C], whose gains are stored as gain - 1."""
    return lambda stored, norm: (1 + torch_kernel(stored, norm + gain), torch_kernel(stored, norm + bias))


def _linear_or_embeddings(stored: Stored, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Takes StudioGAN's linear maps of one-hot labels [C, classes], or the embeddings of its older versions."""
    if any(stored.has(f"{norm}.embed0.weight{kind}") for kind in ("", "_orig")):
        return 1 + torch_kernel(stored, f"{norm}.embed0"), torch_kernel(stored, f"{norm}.embed1")
    return 1 + torch_kernel(stored, f"{norm}.gain").T, torch_kernel(stored, f"{norm}.bias").T


def _halves(stored: Stored, norm: str) -> tuple[np.ndarray, np.ndarray]:
    gain, bias = np.split(stored.take(f"{norm}.table.weight", 2), 2, axis=1)
    return gain, bias


def _mmgeneration_epsilon(stored: Stored) -> float:
    """Returns 1e-4 where the class tables are spectrally normalised, 1e-5 where not: its recipes differ."""
    normalised = any(".weight_embedding.weight_orig" in n or ".weight_embedding.u0" in n for n in stored.names())
    return 1e-4 if normalised else 1e-5


TORCH_BOOKKEEPING = (r".*num_batches_tracked", r".*\.sv0")

LAYOUTS = {
    "authors": Layout(
        source="brain-research/self-attention-gan: generator.py, discriminator.py, non_local.py, ops.py",
        generator=Network(
            parts=r"g_block(\d+)",
            block=Block("snconv1", "snconv2", "snconv3", "cbn_0", "cbn_1"),
            dense="g_snh0",
            norm="g_bn",
            to_image="g_snconv_last",
            attention="g_non_local",
        ),
        discriminator=Network(
            parts=r"d_block(\d+)",
            first=("d_optimized_block1",),
            block=Block("sn_conv1", "sn_conv2", "sn_conv3"),
            dense="d_sn_linear",
            embedding="d_embedding",
            attention="d_non_local",
        ),
        attention=AttentionNames("sn_conv_theta", "sn_conv_phi", "sn_conv_g", "sn_conv_attn", "sigma_ratio"),
        joined="model/",
        moments=(("/mean", "/var"), ("/moving_mean", "/moving_variance")),
        tables=lambda stored, norm: (stored.take(f"{norm}/gamma", 2), stored.take(f"{norm}/beta", 2)),
        affine=("/gamma", "/beta"),
        epsilon=lambda stored: 1e-5,
        # Two Adams: each has slots beside the variables and powers of its own; synchronous ones count their steps.
        ignored=(
            r".*/Adam(_1)?",
            r"(.*/)?beta[12]_power(_1)?",
            r"(.*/)?(global|[dg])_step",
            r"(.*/)?(biased|local_step).*",
        ),
        tensorflow=True,
    ),
    "studiogan": Layout(
        source="POSTECH-CVLab/PyTorch-StudioGAN: src/models/resnet.py, src/utils/ops.py",
        generator=Network(
            parts=r"blocks\.(\d+)\.(\d+)",
            block=Block("conv2d1", "conv2d2", "conv2d0", "bn1", "bn2"),
            dense="linear0",
            norm="bn4",
            to_image="conv2d5",
        ),
        discriminator=Network(
            parts=r"blocks\.(\d+)\.(\d+)",
            block=Block("conv2d1", "conv2d2", "conv2d0"),
            dense="linear1",
            embedding="embedding",
        ),
        attention=AttentionNames("conv1x1_theta", "conv1x1_phi", "conv1x1_g", "conv1x1_attn", "sigma"),
        joined="D.",
        moments=((".bn.running_mean", ".bn.running_var"), (".running_mean", ".running_var")),
        tables=_linear_or_embeddings,
        affine=(".weight", ".bias"),
        epsilon=lambda stored: 1e-4,
        ignored=TORCH_BOOKKEEPING,
        inplace_relu=True,
    ),
    "mmgeneration": Layout(
        source="open-mmlab/mmgeneration: mmgen/models/architectures/sngan_proj, biggan/modules.py",
        generator=Network(
            parts=r"conv_blocks\.(\d+)",
            block=Block("conv_1.conv", "conv_2.conv", "shortcut.conv", "norm_1", "norm_2"),
            dense="noise2feat",
            norm="to_rgb.bn",
            to_image="to_rgb.conv",
        ),
        discriminator=Network(
            parts=r"conv_blocks\.(\d+)",
            first=("from_rgb",),
            block=Block("conv_1.conv", "conv_2.conv", "shortcut.conv"),
            dense="decision",
            embedding="proj_y",
        ),
        attention=AttentionNames("theta.conv", "phi.conv", "g.conv", "o.conv", "gamma"),
        joined="discriminator.",
        moments=((".norm.running_mean", ".norm.running_var"), (".running_mean", ".running_var")),
        tables=_embeddings(".weight_embedding", ".bias_embedding"),
        affine=(".weight", ".bias"),
        epsilon=_mmgeneration_epsilon,
        ignored=TORCH_BOOKKEEPING,
        bgr=True,
    ),
    "biggan-pytorch": Layout(
        source="ajbrock/BigGAN-PyTorch: BigGAN.py, layers.py, with the flags of scripts/launch_SAGAN*.sh",
        generator=Network(
            parts=r"blocks\.(\d+)\.(\d+)",
            block=Block("conv1", "conv2", "conv_sc", "bn1", "bn2"),
            dense="linear",
            norm="output_layer.0",
            to_image="output_layer.2",
        ),
        discriminator=Network(
            parts=r"blocks\.(\d+)\.(\d+)",
            block=Block("conv1", "conv2", "conv_sc"),
            dense="linear",
            embedding="embed",
        ),
        attention=AttentionNames("theta", "phi", "g", "o", "gamma"),
        joined="D.",
        moments=((".stored_mean", ".stored_var"), (".stored_mean", ".stored_var")),
        tables=_embeddings(".gain", ".bias"),
        affine=(".gain", ".bias"),
        epsilon=lambda stored: 1e-5,
        ignored=TORCH_BOOKKEEPING,
    ),
    "torch-sagan": Layout(
        source="the PyTorch peer of this project's benchmarks, with torch.nn.utils.parametrizations.spectral_norm",
        generator=Network(
            parts=r"body\.(\d+)",
            block=Block("conv1.conv", "conv2.conv", "skip.conv", "norm1", "norm2"),
            dense="first",
            norm="norm",
            to_image="last.conv",
        ),
        discriminator=Network(
            parts=r"body\.(\d+)",
            block=Block("conv1.conv", "conv2.conv", "skip.conv"),
            dense="linear",
            embedding="embedding",
        ),
        attention=AttentionNames("query.conv", "key.conv", "value.conv", "out.conv", "gamma"),
        joined="d.",
        moments=((".norm.running_mean", ".norm.running_var"), (".running_mean", ".running_var")),
        tables=_halves,
        affine=(".weight", ".bias"),
        epsilon=lambda stored: 1e-5,
        ignored=TORCH_BOOKKEEPING,
    ),
}
