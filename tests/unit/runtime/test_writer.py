"""Where metrics, images and texts go: into the run's folder, and to any writers that a user brings along."""

import json

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_config

from sagan_jax.errors import InputError
from sagan_jax.runtime import writer as writer_module
from sagan_jax.runtime.workdir import image_file, read_metrics
from sagan_jax.runtime.writer import MetricWriter, open_writer
from sagan_jax.training.loop import train_and_evaluate

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)


class FakeRun:
    """What `wandb.init` returns, as far as it is used here."""

    def __init__(self):
        self.logged, self.ended = [], False

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.ended = True


class WandbWriter:
    """All that a writer for Weights & Biases takes."""

    def __init__(self, run):
        self.run = run

    def write_scalars(self, step, scalars):
        self.run.log(dict(scalars), step=step)

    def write_images(self, step, images):
        self.run.log({kind: Image.fromarray(image[0]) for kind, image in images.items()}, step=step)

    def write_texts(self, step, texts):
        self.run.log(dict(texts), step=step)

    def flush(self):
        """W&B does so by itself."""

    def close(self):
        self.run.finish()


class ScalarsOnly:
    def __init__(self):
        self.rows = []

    def write_scalars(self, step, scalars):
        self.rows.append({"step": step, **scalars})


class Failing(ScalarsOnly):
    """Fails from the second row on."""

    def write_scalars(self, step, scalars):
        if self.rows:
            raise ConnectionError("the server is gone")
        super().write_scalars(step, scalars)

    def close(self):
        raise AssertionError("it was dropped")


def raw_rows(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_users_writers_get_what_the_folder_gets(tmp_path, capsys):
    failing, run, scalars_only = Failing(), FakeRun(), ScalarsOnly()
    config = tiny_config()
    config.log.pictures_every_steps = 4
    train_and_evaluate(config, str(tmp_path), writers=[failing, WandbWriter(run), scalars_only])
    rows = raw_rows(tmp_path)
    assert [row["step"] for row in rows] == [2, 4, 6]
    first, second, more, last = scalars_only.rows
    assert [first, second | more, last] == rows  # the attention of step 4 comes later
    assert failing.rows == rows[:1]
    said = capsys.readouterr().err
    assert said.count("writers[0] (Failing) failed in write_scalars (ConnectionError: the server is gone)") == 1
    assert said.count("warning: ") == 1

    logged = [(step, name, value) for step, values in run.logged for name, value in values.items()]
    texts = [(step, value) for step, name, value in logged if name == "config"]
    assert texts == [(0, (tmp_path / "config.json").read_text().rstrip("\n"))]
    images = [(step, kind, image) for step, kind, image in logged if isinstance(image, Image.Image)]
    assert [(step, kind) for step, kind, _ in images] == [
        *((0, "real"), (4, "samples"), (4, "attention"), (6, "samples"), (6, "attention"))
    ]
    for step, kind, image in images:
        np.testing.assert_array_equal(image, Image.open(tmp_path / kind / f"{step:08d}.png"))
    numbers = [(step, name, value) for step, name, value in logged if isinstance(value, float)]
    assert numbers == [(row["step"], name, value) for row in rows for name, value in row.items() if name != "step"]
    assert run.ended


@pytest.mark.parametrize("writer", [object(), ScalarsOnly, None])
def test_what_is_no_writer_is_refused_before_anything_is_made(tmp_path, writer):
    with pytest.raises(InputError, match=r"writers\[1\] = .* is no object with a method write_scalars"):
        train_and_evaluate(tiny_config(), str(tmp_path / "run"), writers=[ScalarsOnly(), writer])
    assert not (tmp_path / "run").exists()


def test_a_method_that_is_not_implemented_is_like_one_that_is_missing(tmp_path, capsys):
    class Writer(MetricWriter):
        steps = ()

        def write_scalars(self, step, scalars):
            self.steps += (step,)

        def write_images(self, step, images):
            raise NotImplementedError

    own = Writer()
    writer = open_writer(tmp_path, 0, [own])
    writer.write_texts(0, {"config": "{}"})
    for step in (1, 2):
        writer.write_image(step, "samples", PICTURE)
        writer.write_scalars(step, {"d_loss": 1.0})
    writer.close()
    assert own.steps == (1, 2)
    assert "warning" not in capsys.readouterr().err


def test_rows_of_steps_that_are_taken_again_are_written_again(tmp_path):
    writer = open_writer(tmp_path, 0)
    for step in (2, 4, 6):
        writer.write_scalars(step, {"d_loss": step / 2})
    writer.close()
    file = tmp_path / "metrics.jsonl"
    file.write_text(file.read_text() + '{"step": 8, "d_l')  # killed while writing
    assert read_metrics(tmp_path) == losses((2, 1.0), (4, 2.0), (6, 3.0))
    own = ScalarsOnly()
    resumed = open_writer(tmp_path, 4, [own])
    resumed.write_scalars(6, {"d_loss": 9.0})
    resumed.close()
    assert raw_rows(tmp_path) == read_metrics(tmp_path) == losses((2, 1.0), (4, 2.0), (6, 9.0))
    assert own.rows == losses((6, 9.0))


def test_a_row_from_before_a_restart_is_not_written_twice(tmp_path):
    open_writer(tmp_path, 0).write_scalars_once(4, {"g_entropy_8": 1.0, "g_distance_8": 2.0})
    own = ScalarsOnly()
    resumed = open_writer(tmp_path, 4, [own])
    resumed.write_scalars_once(4, {"g_entropy_8": 1.5})
    resumed.write_scalars_once(4, {"eval/fid": 3.0})
    resumed.rewind(2)
    resumed.write_scalars_once(4, {"g_entropy_8": 1.5})
    resumed.close()
    assert raw_rows(tmp_path) == [{"step": 4, "g_entropy_8": 1.5}]
    assert own.rows == [{"step": 4, "eval/fid": 3.0}, {"step": 4, "g_entropy_8": 1.5}]


def losses(*pairs):
    return [{"step": step, "d_loss": loss} for step, loss in pairs]


def test_metrics_are_read_up_to_what_is_damaged(tmp_path):
    assert read_metrics(tmp_path) == []
    lines = [
        b'{"step": 1, "d_loss": NaN}',
        b"[]",
        b'{"d_loss": 1.0}',
        b"\xff\xfe",
        b"",
        b'{"step": 2}',
        b'{"step": 3, ',
    ]
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]


def test_images_and_events_are_written(tmp_path):
    pytest.importorskip("tensorflow")
    writer = open_writer(tmp_path, 0)
    path = writer.write_image(120, "samples", PICTURE)
    writer.close()
    assert path == tmp_path / "samples" / "00000120.png" == image_file(tmp_path, "samples", 120)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), PICTURE)
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "is_host0", lambda: False)
    own = ScalarsOnly()
    writer = open_writer(tmp_path, 0, [own])
    writer.write_scalars(1, {"d_loss": 1.0})
    writer.write_scalars_once(1, {"d_loss": 1.0})
    assert writer.write_image(1, "samples", PICTURE) == tmp_path / "samples" / "00000001.png"
    writer.rewind(0)
    writer.flush()
    writer.close()
    assert own.rows == []
    assert list(tmp_path.iterdir()) == []
