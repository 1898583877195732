"""Files as people have them: every format, depth and colour space, and listings that are not as tidy as they seem."""

import pickle
import struct
import unicodedata
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageCms
from sources import ORANGE, SIDE, plain, run_prepare, source_config

from sagan_jax.data.color import to_srgb
from sagan_jax.data.files import ImageFiles
from sagan_jax.data.formats import counted_suffixes, suffixes
from sagan_jax.data.layout import folder_contents
from sagan_jax.data.manifest import read_manifest
from sagan_jax.data.remarks import remarks_of
from sagan_jax.data.resize import square_rgb
from sagan_jax.data.source import open_source
from sagan_jax.errors import InputError
from sagan_jax.extras import install_extra

GRAY = np.full((SIDE, SIDE), 120, np.uint8)


def heic(path):
    pytest.importorskip("pillow_heif")
    plain("RGB", quality=100)(path)


FORMATS = {
    ".jfif": plain("RGB", quality=95),
    ".jpe": plain("RGB", quality=95),
    ".JPG": plain("RGB", quality=95),
    ".ppm": plain("RGB"),
    ".avif": plain("RGB", quality=100),
    ".jp2": plain("RGB"),
    ".tga": plain("RGB"),
    ".tif": plain("RGB"),
    ".bmp": plain("RGB"),
    ".heic": heic,
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_images_of_every_suffix_are_read(tmp_path, suffix):
    FORMATS[suffix](tmp_path / f"a{suffix}")
    images, _ = open_source(source_config(f"folder:{tmp_path}", 0)).load(np.arange(1))
    assert np.abs(images[0, 8, 8].astype(int) - ORANGE).max() <= 4


def test_suffixes_of_documents_and_films_are_not_those_of_images():
    assert {".jfif", ".mpo", ".apng", ".webp", ".pgm"} <= suffixes()
    assert not {".pdf", ".eps", ".mpg", ".h5", ".txt", ".svg", ""} & suffixes()
    assert counted_suffixes(["a.heic", "b.HEIC", "c"]) == (
        f"2 .heic (to read them: {install_extra('heif')}), 1 without suffix"
    )


NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
REMARKS = {
    "nothing": (["a/1.png", "b/2.jfif", "classes.json"], []),
    "other files": (
        ["a/1.png", "b/2.png", "b/x.txt", "b/y.cr2", "z.txt"],
        ["left out: 3 files not read: 2 .txt, 1 .cr2"],
    ),
    "hidden folder": (
        ["a/1.png", "b/2.png", "b/.ipynb_checkpoints/2.png", "._a.png", "__MACOSX/a/._1.png", ".DS_Store"],
        ["left out: 1 hidden image, such as b/.ipynb_checkpoints/2.png"],
    ),
    "folders that number files": (
        ["00000/1.png", "01000/1001.png"],
        ["the 2 folders 00000 to 01000 are taken for classes: if they only number the images, train with"
         " model.num_classes=0"],
    ),
    "classes with numbers": (["001/1.png", "002/1.png"], []),
}  # fmt: skip


@pytest.mark.parametrize("case", REMARKS)
def test_what_a_listing_hides_is_told(case):
    names, remarks = REMARKS[case]
    assert list(folder_contents("here", names, None, b"{}" if "classes.json" in names else None).remarks) == remarks


# What a zip holds, and the classes and names of its images, or what is said.
ZIPS = {
    "dots": (["./a/1.png", "./b//./2.png"], [("a", "a/1.png"), ("b", "b/2.png")]),
    "accents spelled in two ways": ([f"{NFC}/1.png", f"{NFD}/2.png", "tea/3.png"],
                                    [(NFC, f"{NFC}/1.png"), (NFC, f"{NFC}/2.png"), ("tea", "tea/3.png")]),
    "twice": (["a/1.png", "a/1.png", "b/2.png"], "has two files of the name a/1.png: rename or remove one"),
    "twice, with a dot": (["a/1.png", "./a/1.png"], "has two files of the name a/1.png"),
    "twice in two spellings": ([f"{NFC}/1.png", f"{NFD}/1.png"], f"has two files of the name {NFC}/1.png"),
    "upwards": (["a/../../1.png"], "names that are no relative paths"),
    "only hidden": ([".cache/1.png"], "has no image, but 1 hidden image, such as .cache/1.png"),
    "only others": (["a/1.mov", "b/2.mov"], "has no image, but 2 files not read: 2 .mov"),
}  # fmt: skip


@pytest.mark.parametrize("case", ZIPS)
def test_zips_are_read_as_a_person_sees_them(tmp_path, case):
    stored, expected = ZIPS[case]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's on duplicates
        for position, name in enumerate(stored):
            archive.writestr(name, bytes([position]))
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected):
            ImageFiles([str(tmp_path / "x.zip")])
        return
    files = pickle.loads(pickle.dumps(ImageFiles([str(tmp_path / "x.zip")])))
    found = [files.file(index) for index in range(len(files))]
    names = [(files.class_names[file.label], file.name.partition("x.zip/")[2]) for file in found]
    assert names == expected
    assert [file.read()[0] for file in found] == list(range(len(stored)))


def test_a_folder_has_the_same_classes_as_its_zip_on_any_system(tmp_path):
    (tmp_path / NFD).mkdir()
    (tmp_path / "tea").mkdir()
    for name in (NFD, "tea"):
        plain("RGB")(tmp_path / name / "1.png")
    source = open_source(source_config(f"folder:{tmp_path}", 2))
    assert source.class_names == (NFC, "tea")
    assert source.load(np.arange(2))[1].tolist() == [0, 1]


def icc(space, *tags):
    """A colour profile with linear curves; `tags` are those of its primaries."""

    def fixed(*values):
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv" + bytes(4) + struct.pack(">I", 0)
    text = b"text" + bytes(4) + b"none\0\0\0\0"
    described = b"desc" + bytes(4) + struct.pack(">I", 7) + b"linear\0" + bytes(78)
    entries = {b"desc": described, b"cprt": text, b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)}
    if space == b"GRAY":
        entries[b"kTRC"] = curve
    else:
        entries |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
        for name, primary in zip((b"r", b"g", b"b"), SRGB_PRIMARIES, strict=True):
            entries[name + b"XYZ"] = b"XYZ " + bytes(4) + fixed(*primary)
    table, data, start = b"", b"", 128 + 4 + 12 * len(entries)
    for name, value in entries.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", start + len(data), len(value))
        data += value
    body = struct.pack(">I", len(entries)) + table + data
    header = struct.pack(">I4sI4s4s4s12x4s", 128 + len(body), bytes(4), 0x02400000, b"mntr", space, b"XYZ ", b"acsp")
    return header + bytes(128 - 60 - len(header)) + bytes(28) + fixed(0.9642, 1, 0.8249) + bytes(20) + body


SRGB_PRIMARIES = (0.4360747, 0.2225045, 0.0139322), (0.3850649, 0.7168786, 0.0971045), (0.1430804, 0.0606169, 0.7141733)


def encoded_srgb(linear):
    """The standard's curve, IEC 61966-2-1."""
    x = np.asarray(linear) / 255
    return 255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def tiff_12_bit(path):
    """A grey TIFF of 12 bits, which Pillow can read but not write; its value is 120 of 255."""
    value = round(120 / 255 * 4095)
    data = bytes([value >> 4, (value & 15) << 4 | value >> 8, value & 255]) * (SIDE * SIDE // 2)
    entries = {256: SIDE, 257: SIDE, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: SIDE, 279: len(data)}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, number) for tag, number in entries.items())
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", 9) + table + bytes(4))


def array(values, **options):
    return lambda path: Image.fromarray(values).save(path, **options)


def netpbm(highest):
    values = np.full((SIDE, SIDE), round(120 / 255 * highest), ">u2").tobytes()
    return lambda path: path.write_bytes(f"P5 {SIDE} {SIDE} {highest}\n".encode() + values)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LINEAR = {"icc_profile": icc(b"RGB ")}
# File, how it is written, the pixels expected (or what is said), and the counts of conversions.
PIXELS = {
    "16 bits": ("a.png", array(GRAY.astype(np.uint16) * 257), (120,) * 3, {"deep"}),
    "12 bits in 16": ("a.png", array(GRAY.astype(np.uint16) * 16), (7,) * 3, {"deep", "dim"}),
    "12 bits that say so": ("a.tif", tiff_12_bit, (120,) * 3, {"deep"}),
    "netpbm of 16 bits": ("a.pgm", netpbm(65_535), (120,) * 3, {"deep"}),
    "netpbm of 12 bits": ("a.pgm", netpbm(4_095), (120,) * 3, {"deep"}),
    "32 bits": ("a.tif", array(GRAY.astype(np.int32)), "32-bit pixels have no known range", None),
    "floating point": ("a.tif", array(GRAY / np.float32(255)), "floating-point pixels have no known range", None),
    "sRGB": ("a.png", plain("RGB", icc_profile=SRGB), ORANGE, set()),
    "linear": ("a.png", plain("RGB", **LINEAR), encoded_srgb(ORANGE), {"profiled"}),
    "linear JPEG": ("a.jpg", plain("RGB", quality=100, **LINEAR), encoded_srgb(ORANGE), {"profiled"}),
    "linear palette": ("a.png", lambda path: Image.new("RGB", (SIDE, SIDE), ORANGE).quantize(4).save(path, **LINEAR),
                       encoded_srgb(ORANGE), {"profiled"}),
    "linear, transparent": ("a.png", lambda path: Image.new("RGBA", (SIDE, SIDE), (*ORANGE, 51)).save(path, **LINEAR),
                            0.8 * 255 + 0.2 * encoded_srgb(ORANGE), {"profiled"}),
    "linear grey": ("a.png", array(GRAY, icc_profile=icc(b"GRAY")), encoded_srgb((120,) * 3), {"profiled"}),
    "colours' profile in grey": ("a.png", array(GRAY, **LINEAR), (120,) * 3, set()),
    "broken profile": ("a.png", plain("RGB", icc_profile=b"nothing"), ORANGE, set()),
    "Lab": ("a.tif", lambda path: Image.new("LAB", (SIDE, SIDE), (128, 128, 128)).save(path), (119,) * 3, {"profiled"}),
}  # fmt: skip


@pytest.mark.parametrize("case", PIXELS)
def test_pixels_become_srgb_or_are_refused(tmp_path, case):
    name, write, expected, conversions = PIXELS[case]
    write(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        if conversions is None:
            with pytest.raises(ValueError, match=expected):
                to_srgb(image)
            return
        converted = to_srgb(image)
    assert np.abs(np.asarray(converted.image).mean(axis=(0, 1)) - expected).max() <= 2
    assert {kind for kind in ("profiled", "deep", "dim") if getattr(converted, kind)} == conversions


def test_conversions_are_counted_before_training_and_when_prepared(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for position in range(3):
        PIXELS["12 bits in 16"][1](tmp_path / "in" / f"{position}.png")
    PIXELS["linear"][1](tmp_path / "in" / "9.png")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    assert run_prepare(source=tmp_path / "in", out=tmp_path / "out") == 0
    shown, notes = capsys.readouterr().out, read_manifest(tmp_path / "out").notes
    before_training = list(remarks_of(open_source(source_config(f"folder:{tmp_path / 'in'}", 0))))
    assert list(remarks_of(open_source(source_config(f"prepared:{tmp_path / 'out'}", 0)))) == list(notes)
    for told, which in ((notes, "of 4 images, "), (before_training, "of 4 images looked at, ")):
        assert len(told) == 3
        assert told[0] == "left out: 1 file not read: 1 .txt"
        assert told[1].startswith(f"{which}1 with a colour profile other than sRGB")
        assert told[2].startswith(f"{which}3 of 16 bits, none with a value above 4,095 of 65,535")
    assert all(f"note: {note}" in shown for note in notes)


def test_images_hardly_larger_than_the_target_keep_whole_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 19, 3), np.uint8)
    np.testing.assert_array_equal(square_rgb(Image.fromarray(pixels), 16), pixels[:, 1:17])
