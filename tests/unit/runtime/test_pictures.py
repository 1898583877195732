"""Sheets of samples."""

import numpy as np

from sagan_jax.runtime.pictures import PAPER, sample_sheet


def test_sample_sheet_shows_every_image_in_its_row():
    colors = np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 255)], [(9, 9, 9), (99, 99, 99), (199, 199, 199)]], np.uint8)
    images = np.broadcast_to(colors[:, :, None, None], (2, 3, 16, 16, 3))
    sheet = sample_sheet(images, ["first", "a very long class name, and more of it"], "title")
    for color in colors.reshape(-1, 3):
        assert (sheet == color).all(-1).sum() >= 64 * 64 - 1
    left = [np.where((sheet == color).all(-1))[1].min() for color in colors[0]]
    assert left == sorted(left)


def test_captions_stand_under_their_samples():
    images = np.full((1, 2, 64, 64, 3), 255, np.uint8)
    plain, named = (sample_sheet(images, [""], "title", captions) for captions in ([], ["", "a dog"]))
    assert named.shape[0] > plain.shape[0]
    below = named[plain.shape[0] - 4 :]
    dark = np.where((below < 120).all(-1))[1]
    assert plain.shape[1] // 2 < dark.min() < dark.max() < plain.shape[1]  # under the second
    wide = sample_sheet(images, [""], "a title that is a good deal wider than its two samples")
    assert (wide[:30, plain.shape[1] :] < 120).any()


def test_a_sheet_names_its_columns_and_its_rows_may_differ_in_length():
    rows = [np.full((count, 64, 64, 3), 255, np.uint8) for count in (2, 1)]
    plain, named = (sample_sheet(rows, ["", ""], "title", column_names=names) for names in ([], ["", "a latent"]))
    assert (plain[-40, 12 + 68 + 32] == PAPER).all()  # no second sample in the second row
    assert named.shape[0] == plain.shape[0] + 16
    above = np.where((named[30:46] < 120).all(-1))[1]
    assert 12 + 68 < above.min() < above.max() < named.shape[1]
