"""Preparing data sets: every format, the way back, broken files, damage, and what a person is told."""

import dataclasses
import json
import os
import struct
import zlib

import numpy as np
import pytest
from etils import epath
from PIL import Image
from sources import ORANGE, SIDE, plain, run_prepare, write_images
from tiny import tiny_config

from sagan_jax import prepare
from sagan_jax.data.manifest import read_manifest
from sagan_jax.data.pipeline import resolve_num_classes
from sagan_jax.data.prepared import open_prepared
from sagan_jax.data.resize import square_rgb
from sagan_jax.data.source import open_source
from sagan_jax.errors import InputError
from sagan_jax.preparation.inspection import remarks
from sagan_jax.preparation.workers import allowed_skips


def png_16_bit(path, color):
    """A PNG with 16 bits per channel, which Pillow can read but not write."""
    rows = b"".join(b"\0" + struct.pack(">3H", *(value * 257 for value in color)) * SIDE for _ in range(SIDE))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def turned_jpeg(path):
    """White on the left as stored; turned by a quarter, so white at the top as it was seen."""
    image = Image.new("RGB", (SIDE, SIDE), "black")
    image.paste("white", (0, 0, SIDE // 2, SIDE))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif, quality=95)


def transparent(path, **options):
    image = Image.new("RGBA", (SIDE, SIDE), (*ORANGE, 255))
    image.paste((0, 0, 0, 0), (0, 0, SIDE, SIDE // 2))
    image.save(path, **options)


def deep_grey(path):
    Image.fromarray(np.full((SIDE, SIDE), 120 * 257, np.uint16)).save(path)


GREY = (round(0.299 * 240 + 0.587 * 120 + 0.114 * 40),) * 3
# What is written, and the colours expected in the upper and the lower half.
FORMATS = {
    "rgb.jpg": (plain("RGB", quality=95), ORANGE, ORANGE),
    "grey.jpeg": (plain("L", quality=95), GREY, GREY),
    "cmyk.jpg": (plain("CMYK", quality=95), ORANGE, ORANGE),
    "turned.jpg": (turned_jpeg, (255,) * 3, (0,) * 3),
    "rgb.png": (plain("RGB"), ORANGE, ORANGE),
    "grey.png": (plain("L"), GREY, GREY),
    "palette.png": (
        lambda path: Image.new("RGB", (SIDE, SIDE), ORANGE).quantize(4).save(path),
        ORANGE,
        ORANGE,
    ),
    "alpha.png": (transparent, (255,) * 3, ORANGE),
    "deep.png": (lambda path: png_16_bit(path, ORANGE), ORANGE, ORANGE),
    "deep_grey.png": (deep_grey, (120,) * 3, (120,) * 3),
    "rgb.webp": (plain("RGB", lossless=True), ORANGE, ORANGE),
    "alpha.webp": (lambda path: transparent(path, lossless=True), (255,) * 3, ORANGE),
}


def test_every_format_becomes_rgb(tmp_path):
    (tmp_path / "images").mkdir()
    for name, (write, _, _) in FORMATS.items():
        write(tmp_path / "images" / name)
    assert run_prepare(source=tmp_path / "images", out=tmp_path / "out") == 0
    source = open_prepared(str(tmp_path / "out"), 16)
    assert source.class_names == ("all",)
    images, _ = source.load(np.arange(len(FORMATS)))
    for image, name in zip(images.astype(int), sorted(FORMATS), strict=True):
        _, upper, lower = FORMATS[name]
        tolerance = 6 if "cmyk" in name or "turned" in name else 2
        assert np.abs(image[2:6] - upper).max() <= tolerance, name
        assert np.abs(image[-6:-2] - lower).max() <= tolerance, name


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Two classes of three images, prepared."""
    folder = tmp_path_factory.mktemp("prepared")
    write_images(folder / "images")
    assert run_prepare(source=folder / "images", out=folder / "out") == 0
    return folder


def copied(prepared, tmp_path):
    for file in (prepared / "out").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_what_was_prepared_comes_back_with_its_labels_and_names(prepared):
    config = tiny_config()
    config.data.source = f"prepared:{prepared / 'out'}"
    source = open_source(config)
    assert (len(source), source.class_names, list(source.labels)) == (6, ("cat", "dog"), [0, 0, 0, 1, 1, 1])
    images, labels = source.load(np.array([4, 0, 4]))
    assert list(labels) == [1, 0, 1]
    for image, file in zip(images, ("dog/1.png", "cat/0.png", "dog/1.png"), strict=True):
        np.testing.assert_array_equal(image, square_rgb(Image.open(prepared / "images" / file), 16))
    assert source.name == f"prepared:{read_manifest(prepared / 'out').content_hash[:12]}"
    manifest = json.loads((prepared / "out" / "dataset.json").read_text())
    assert (manifest["class_names"], manifest["class_counts"]) == (["cat", "dog"], [3, 3])
    assert (manifest["num_images"], manifest["resolution"], manifest["filter"]) == (6, 16, "lanczos")


def test_a_person_sees_classes_and_contact_sheet(prepared, capsys):
    assert prepare.main([f"--inspect={prepared / 'out'}"]) == 0
    shown = capsys.readouterr().out
    assert "    1  dog            3  50.00%" in shown
    assert "every file has the SHA-256" in shown
    sheet = np.asarray(Image.open(prepared / "out" / "contact_sheet.png"))
    cat = np.asarray(Image.open(prepared / "images" / "cat" / "0.png").resize((16, 16), Image.Resampling.LANCZOS))
    # Its first image, enlarged four times, is in the sheet pixel by pixel.
    rows, columns = np.where((sheet[..., :3] == cat[0, 0]).all(-1))
    top, left = rows.min(), columns[rows == rows.min()].min()
    np.testing.assert_array_equal(sheet[top : top + 64 : 4, left : left + 64 : 4], cat)


def test_one_class_means_no_classes(tmp_path):
    source = write_images(tmp_path / "images", classes=("only",))
    assert run_prepare(source=source, out=tmp_path / "out") == 0
    config = tiny_config()
    config.model.num_classes = -1
    assert resolve_num_classes(config, open_prepared(str(tmp_path / "out"), 16)) == 0


def test_the_same_command_again_does_nothing_and_another_is_refused(prepared, capsys):
    before = {file.name: file.stat().st_mtime_ns for file in (prepared / "out").glob("*.array_record")}
    assert run_prepare(source=prepared / "images", out=prepared / "out") == 0
    assert "already; nothing to do" in capsys.readouterr().out
    assert before == {file.name: file.stat().st_mtime_ns for file in (prepared / "out").glob("*.array_record")}
    assert run_prepare(source=prepared / "images", out=prepared / "out", resolution=32) == 2
    assert "was made with resolution = 16 rather than 32" in capsys.readouterr().err


def test_images_added_later_are_not_taken_for_prepared(tmp_path, capsys):
    source = write_images(tmp_path / "images")
    assert run_prepare(source=source, out=tmp_path / "out") == 0
    (source / "cat" / "new.png").write_bytes((source / "cat" / "0.png").read_bytes())
    assert run_prepare(source=source, out=tmp_path / "out") == 2
    assert "holds a data set that was made with identity = " in capsys.readouterr().err


def test_the_content_hash_does_not_depend_on_place_or_workers(prepared, tmp_path):
    assert run_prepare("--workers=2", source=prepared / "images", out=tmp_path / "again") == 0
    first, again = read_manifest(prepared / "out"), read_manifest(tmp_path / "again")
    assert first.file_hashes == again.file_hashes
    (prepared / "images" / "dog").rename(tmp_path / "dog")
    (prepared / "images" / "cat").rename(prepared / "images" / "dog")
    (tmp_path / "dog").rename(prepared / "images" / "cat")
    assert run_prepare(source=prepared / "images", out=tmp_path / "swapped") == 0
    assert read_manifest(tmp_path / "swapped").content_hash != first.content_hash


def test_broken_files_stop_or_are_skipped_and_counted(tmp_path, capsys):
    source = write_images(tmp_path / "images", count=10)
    whole = (source / "cat" / "0.png").read_bytes()
    (source / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    (source / "dog" / "7.png").write_bytes(b"")
    assert run_prepare(source=source, out=tmp_path / "out") == 2
    assert "cat/1.png is not a readable image" in capsys.readouterr().err
    with pytest.raises(InputError, match="only half prepared"):
        open_prepared(str(tmp_path / "out"), 16)
    assert run_prepare("--on-error=skip", "--max-skipped=0.05", source=source, out=tmp_path / "out") == 2
    assert "2 of 20 files are not readable images, the last of them" in capsys.readouterr().err
    assert run_prepare("--on-error=skip", "--max-skipped=0.1", source=source, out=tmp_path / "out") == 0
    assert "2 unreadable files were left out, such as" in capsys.readouterr().out
    manifest = read_manifest(tmp_path / "out")
    assert manifest.class_counts == (9, 9)
    assert [name.rpartition("images/")[2] for name, _ in manifest.skipped] == ["cat/1.png", "dog/7.png"]


@pytest.mark.parametrize(
    ("fraction", "images", "allowed"), [(0.01, 3, 1), (0.01, 100, 1), (0.01, 299, 2), (0.29, 100, 29), (0, 50, 0)]
)
def test_one_broken_file_of_a_small_data_set_may_be_skipped(fraction, images, allowed):
    assert allowed_skips(fraction, images) == allowed


def test_files_mended_after_an_interrupted_run_are_taken_in(tmp_path):
    source = write_images(tmp_path / "images", count=300)  # three shards, with broken files in the first and the last
    whole = (source / "cat" / "0.png").read_bytes()
    broken = [source / "cat" / "0.png", *(source / "dog" / f"{i}.png" for i in range(200, 300))]
    for file in broken:
        file.write_bytes(b"")
    assert run_prepare("--on-error=skip", source=source, out=tmp_path / "out") == 2
    assert list((tmp_path / "out").glob("images-00000-*.json"))
    for file in broken:
        file.write_bytes(whole)
    assert run_prepare(source=source, out=tmp_path / "out") == 0
    assert read_manifest(tmp_path / "out").class_counts == (300, 300)


def test_odd_names_and_pipes_harm_nobody(tmp_path, capsys):
    source = write_images(tmp_path / "images", classes=("line\nbreak", "\udcff\udcfe", "日本"))
    os.mkfifo(source / "日本" / "pipe.png")
    assert run_prepare("--on-error=skip", "--max-skipped=0.5", source=source, out=tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "0  line?break" in shown
    assert "2  ??" in shown
    assert "pipe.png (no regular file)" in shown
    assert open_prepared(str(tmp_path / "out"), 16).class_names == ("line\nbreak", "日本", "\udcff\udcfe")


def test_nothing_readable_is_no_data_set(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "x.png").write_text("no picture")
    assert run_prepare("--on-error=skip", "--max-skipped=1", source=tmp_path / "images", out=tmp_path / "out") == 2
    assert "none of the 1 files" in capsys.readouterr().err
    with pytest.raises(InputError, match="half prepared"):
        read_manifest(tmp_path / "out")


def test_classes_with_the_same_images_and_uneven_ones_are_remarked_on(tmp_path, capsys):
    source = write_images(tmp_path / "images", count=20)
    (source / "wolf").mkdir()
    for i in range(2):
        (source / "wolf" / f"w{i}.png").write_bytes((source / "dog" / f"{i}.png").read_bytes())
    assert run_prepare(source=source, out=tmp_path / "out", resolution=32) == 0
    shown = capsys.readouterr().out
    assert "the classes dog and wolf have images in common: 2, such as" in shown
    assert "dog/0.png = " in shown
    assert "classes have 2 to 20 images: consider data.class_sampling=empirical" in shown
    assert (
        "42 of 42 images were smaller than 32 px and were enlarged, which blurs them: consider --resolution=16" in shown
    )


@pytest.mark.parametrize(
    ("enlarged", "resolution", "advice"),
    [(31, 128, "consider --resolution=64"), (3, 128, "leaving them out"), (40, 16, "leaving them out"), (0, 128, None)],
)
def test_enlarged_images_suggest_a_lower_resolution(prepared, enlarged, resolution, advice):
    manifest = read_manifest(epath.Path(prepared / "out"))
    shards = (dataclasses.replace(manifest.shards[0], images=40),)
    manifest = dataclasses.replace(manifest, enlarged=enlarged, resolution=resolution, shards=shards)
    found = [remark for remark in remarks(manifest) if "enlarged" in remark]
    assert bool(found) == bool(advice)
    assert all(remark.startswith(f"{enlarged} of 40 images") and remark.endswith(advice) for remark in found)


def test_a_flipped_byte_is_found_and_named(prepared, tmp_path, capsys):
    folder = copied(prepared, tmp_path)
    (shard,) = folder.glob("*.array_record")
    data = bytearray(shard.read_bytes())
    pixels = open_prepared(str(folder), 16).load(np.array([2]))[0].tobytes()
    data[bytes(data).find(pixels) + 300] ^= 1
    shard.write_bytes(data)
    assert prepare.main([f"--inspect={folder}"]) == 2
    assert f"{shard} is damaged: its SHA-256 is not that of dataset.json" in capsys.readouterr().err
    with pytest.raises(InputError, match=f"{shard.name} is damaged"):
        open_prepared(str(folder), 16).load(np.array([2]))


DAMAGE = {
    "labels": (lambda folder: (folder / "labels.npy").write_bytes(b"x"), "labels.npy is missing or damaged"),
    "cut manifest": (lambda folder: (folder / "dataset.json").write_text('{"format"'), "dataset.json is damaged"),
    "no manifest": (lambda folder: (folder / "dataset.json").unlink(), "is no prepared data set"),
    "changed": (
        lambda folder: (folder / "dataset.json").write_text(
            (folder / "dataset.json").read_text().replace('"cat"', '"cow"')
        ),
        "was changed: its checksum does not fit",
    ),
    "another's": (
        lambda folder: (folder / "dataset.json").write_text('{"labels": null}'),
        "not of a data set prepared",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_is_not_whole_does_not_count(prepared, tmp_path, case):
    damage, words = DAMAGE[case]
    folder = copied(prepared, tmp_path)
    damage(folder)
    with pytest.raises(InputError, match=words):
        open_prepared(str(folder), 16)


def test_another_resolution_is_refused(prepared):
    with pytest.raises(InputError, match="data.resolution = 32, but .* was prepared at 16 px: set it to 16"):
        open_prepared(str(prepared / "out"), 32)


WRONG_FLAGS = {
    "nothing": ([], "--source, --out, --resolution missing"),
    "no resolution": (["--source=x", "--out=y"], "--resolution missing"),
    "odd resolution": (["--source=x", "--out=y", "--resolution=100"], "--resolution: invalid choice: 100"),
    "both": (["--inspect=x", "--out=y"], "--inspect goes without"),
    "fraction": (["--source=x", "--out=y", "--resolution=16", "--max-skipped=3"], "3 is not a fraction"),
    "no fraction": (["--source=x", "--out=y", "--resolution=16", "--max-skipped=few"], "few is not a fraction"),
    "workers": (["--source=x", "--out=y", "--resolution=16", "--workers=0"], "0 is not a number from 1 to 4,096"),
    "no source": (["--source=/nowhere", "--out=y", "--resolution=16"], "--source: there is no folder"),
    "two kinds": (["--source=tfds:cifar10", "--source=x", "--out=y", "--resolution=16"], "cannot be merged"),
    "no data set": (["--inspect=/nowhere"], "/nowhere does not exist: make it with"),
}


@pytest.mark.parametrize("case", WRONG_FLAGS)
def test_wrong_flags_get_one_sentence(case, capsys):
    flags, words = WRONG_FLAGS[case]
    try:
        status = prepare.main(flags)
    except SystemExit as leaving:
        status = leaving.code
    message = capsys.readouterr().err
    assert status == 2
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert words in message


def test_output_must_be_free(prepared, tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("mine")
    assert run_prepare(source=prepared / "images", out=tmp_path) == 2
    assert "is not empty and holds no prepared data set" in capsys.readouterr().err
    assert run_prepare(source=prepared / "images", out=prepared / "images" / "out") == 2
    assert "lies in --source" in capsys.readouterr().err
    assert run_prepare(source=prepared / "images", out=tmp_path / "precious.txt" / "out") == 2
    assert "cannot be written to" in capsys.readouterr().err


def test_too_small_a_disk_is_said_before_anything_is_read(prepared, tmp_path, monkeypatch, capsys):
    free = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    assert run_prepare(source=prepared / "images", out=tmp_path / "out") == 2
    assert "has 1.0 kB free, but" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.array_record"))
