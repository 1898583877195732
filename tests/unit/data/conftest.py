"""A folder of images in two classes."""

import pytest
from PIL import Image


@pytest.fixture
def image_folder(tmp_path):
    for name, color in (("dog", "red"), ("cat", "blue")):
        (tmp_path / name / "deep").mkdir(parents=True)
        Image.new("RGB", (40, 20), color).save(tmp_path / name / "a.png")
        Image.new("RGB", (20, 30), color).save(tmp_path / name / "deep" / "b.jpg", quality=95)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / "._a.png").write_bytes(b"what macOS leaves behind")
    return tmp_path
