"""Makes the files beside this one; see README.md there."""

import collections
import json
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def random_weight(name, shape):
    """A weight of an Inception, the same wherever it is made."""
    numbers = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        return 1 + 0.2 * np.abs(numbers)
    if name.endswith("bn.weight"):
        return 1 + 0.1 * numbers
    if len(shape) == 1:
        return 0.1 * numbers
    return numbers * np.float32(np.sqrt(2 / np.prod(shape[1:])))


def golden_image():
    """[299, 299, 3] float32 in [-1, 1], smooth in places and sharp in others."""
    y, x = np.mgrid[:299, :299] / 299
    waves = [np.sin(9 * x + 5 * y * y), np.cos(14 * y - 3 * x), np.sign(np.sin(30 * x * y))]
    return np.stack(waves, axis=-1).astype(np.float32)


def save_tensors():
    import torch

    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = collections.OrderedDict(
        whole=base,
        transposed=base.t(),
        part=base[1:3, ::2],
        half=torch.tensor([0.5, -2.0], dtype=torch.float16),
        whole_numbers=torch.tensor([[1, -(2**40)]]),
        scalar=torch.tensor(7, dtype=torch.uint8),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.full((2,), 3.0, dtype=torch.float64)),
    )
    torch.save(tensors, HERE / "tensors_zip.pth")
    torch.save(tensors, HERE / "tensors_legacy.pth", _use_new_zipfile_serialization=False)


def save_inception():
    import pytorch_fid.inception as port
    import torch

    shapes = {}

    def weights(*_, **__):
        template = port._inception_v3(num_classes=1008, aux_logits=False, weights=None)
        template.Mixed_5b = port.FIDInceptionA(192, pool_features=32)
        template.Mixed_5c = port.FIDInceptionA(256, pool_features=64)
        template.Mixed_5d = port.FIDInceptionA(288, pool_features=64)
        template.Mixed_6b = port.FIDInceptionC(768, channels_7x7=128)
        template.Mixed_6c = port.FIDInceptionC(768, channels_7x7=160)
        template.Mixed_6d = port.FIDInceptionC(768, channels_7x7=160)
        template.Mixed_6e = port.FIDInceptionC(768, channels_7x7=192)
        template.Mixed_7b = port.FIDInceptionE_1(1280)
        template.Mixed_7c = port.FIDInceptionE_2(2048)
        state = template.state_dict()
        shapes.update({n: list(v.shape) for n, v in state.items() if not n.endswith("num_batches_tracked")})
        return {n: torch.from_numpy(random_weight(n, shapes[n])) if n in shapes else v for n, v in state.items()}

    port.load_state_dict_from_url = weights
    inception = port.fid_inception_v3().eval()
    port.fid_inception_v3 = lambda: inception
    network = port.InceptionV3([0, 1, 2, 3], resize_input=False, normalize_input=False).eval()
    seen = {}
    inception.Mixed_6d.branch1x1.register_forward_hook(lambda *arguments: seen.update(spatial=arguments[-1]))
    with torch.no_grad():
        taps = network(torch.from_numpy(golden_image().transpose(2, 0, 1)[None]))
        features = {str(tap.shape[1]): tap.mean(dim=(2, 3))[0] for tap in taps}
        features["logits"] = inception.fc.weight @ features["2048"]
        features["spatial"] = seen["spatial"][0, :7].permute(1, 2, 0).reshape(-1)
    golden = {}
    for name, values in features.items():
        numbers = values.double().numpy()
        every = max(1, len(numbers) // 16)
        golden[name] = {"every": every, "values": numbers[::every].tolist(), "norm": float(np.linalg.norm(numbers))}
    # The same network by its names and shapes; rows of one line each.
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(shape)}" for name, shape in shapes.items())
    text = f'{{"features": {json.dumps(golden)},\n"shapes": {{\n{rows}\n}}}}\n'
    (HERE / "inception.json").write_text(text)


if __name__ == "__main__":
    save_tensors()
    save_inception()
