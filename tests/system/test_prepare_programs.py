"""Preparing as it happens: killed, on a full disk, into a bucket, and from TFDS."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from places import ROOT
from sources import write_images

from sagan_jax.data.encoded import decode
from sagan_jax.data.manifest import read_manifest
from sagan_jax.data.prepared import open_prepared
from sagan_jax.data.tfds_source import TfdsImages
from sagan_jax.errors import InputError

pytestmark = pytest.mark.slow


def start(source, out, *flags, **options):
    command = [sys.executable, "-m", "sagan_jax.prepare", f"--source={source}", f"--out={out}", "--resolution=64"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, "--workers=2", *flags], cwd=ROOT, **pipes, **options)


def finished(process):
    stdout, stderr = process.communicate(timeout=1200)
    return process.returncode, stdout, stderr


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """More than four thousand images, which make 16 shards and take seconds."""
    return write_images(tmp_path_factory.mktemp("many") / "images", ("ant", "bee", "fly"), count=1400, side=80)


@pytest.fixture(scope="module")
def undisturbed(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    status, _, stderr = finished(start(images, out))
    assert status == 0, stderr
    return contents(out)


@pytest.mark.parametrize("whole_shards", [0, 3, 9])
def test_killed_at_any_moment_the_next_attempt_ends_in_the_same_bytes(images, undisturbed, tmp_path, whole_shards):
    out = tmp_path / "out"
    process = start(images, out, start_new_session=True)
    deadline = time.monotonic() + 1200
    while len(list(out.glob("*.array_record"))) < whole_shards or not list(out.glob(".images*.partial")):
        assert process.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    with pytest.raises(InputError, match="only half prepared: run the same"):
        read_manifest(out)
    assert ends_with_its_parent(process.pid)
    kept = {file.name: file.stat().st_mtime_ns for file in out.glob("*.array_record")}

    status, stdout, stderr = finished(start(images, out))
    assert status == 0, stderr
    assert "4,200" in stdout
    assert contents(out) == undisturbed
    reports_were_there = [name for name, made in kept.items() if (out / name).stat().st_mtime_ns == made]
    assert len(reports_were_there) >= len(kept) - 2  # a shard may lack its report


def ends_with_its_parent(session):
    """Whether all workers, which are in the session of the process that was killed, end soon."""
    for _ in range(6000):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-session, os.WNOHANG)  # orphans become children of this process, see warm_start.py
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def wait_for_a_shard(process, out):
    while not list(out.glob("*.array_record")):
        assert process.poll() is None
        time.sleep(0.01)


def test_a_killed_worker_is_an_error_and_not_the_end_of_the_work(images, undisturbed, tmp_path):
    out = tmp_path / "out"
    process = start(images, out)
    wait_for_a_shard(process, out)
    children = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True)
    os.kill(int(children.stdout.split()[0]), signal.SIGKILL)
    status, _, stderr = finished(process)
    assert status == 2
    assert stderr.strip().splitlines()[-1].startswith("error: a worker process was killed")
    assert finished(start(images, out))[0] == 0
    assert contents(out) == undisturbed


def test_two_at_once_do_not_disturb_each_other(images, undisturbed, tmp_path):
    out = tmp_path / "out"
    first = start(images, out)
    wait_for_a_shard(first, out)
    status, _, stderr = finished(start(images, out))
    assert status == 2
    assert "is being written to by another process" in stderr
    assert finished(first)[0] == 0
    assert contents(out) == undisturbed


def test_ctrl_c_stops_and_says_how_to_go_on(images, undisturbed, tmp_path):
    out = tmp_path / "out"
    # Tests that run in the background of a shell inherit that Ctrl-C is ignored.
    process = start(images, out, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    wait_for_a_shard(process, out)
    process.send_signal(signal.SIGINT)
    status, _, stderr = finished(process)
    assert status == 130
    assert stderr.strip().endswith("stopped at once: run the same command again to go on")
    assert not list(out.glob(".*.partial"))
    assert finished(start(images, out))[0] == 0
    assert contents(out) == undisturbed


def test_a_file_that_cannot_grow_is_an_error_and_nothing_half_made_counts(images, tmp_path):
    """A limit on the size of files stands for a disk that fills up while another program writes to it."""
    limit = 1 << 20
    process = start(
        images, tmp_path / "out", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    status, _, stderr = finished(process)
    assert status == 2
    message = stderr.strip().splitlines()[-1]
    assert message.startswith(f"error: --out={tmp_path / 'out'} cannot be written to (")
    assert "Traceback" not in stderr
    assert not list((tmp_path / "out").glob("*.array_record"))
    assert not list((tmp_path / "out").glob(".*.partial"))
    with pytest.raises(InputError, match="only half prepared"):
        open_prepared(str(tmp_path / "out"), 64)


def test_full_disk(images, tmp_path):
    """A real disk of a few megabytes: what does not fit is refused, what fills it up is an error."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=30m none {disk} || exit 99\n"
        f"{sys.executable} -m sagan_jax.prepare --source={images} --out={disk}/a --resolution=64\n"
        'echo "status $?"\n'
        # After the first look at the disk another program takes the space.
        f"umount {disk}; mount -t tmpfs -o size=60m none {disk}\n"
        f"{sys.executable} -m sagan_jax.prepare --source={images} --out={disk}/b --resolution=64 --workers=1 &\n"
        f"until ls {disk}/b/*.array_record >/dev/null 2>&1; do sleep 0.01; done\n"
        f"head -c 60m /dev/zero > {disk}/other 2>/dev/null\n"
        f'wait $!; echo "status $?"; ls -A {disk}/b\n'
    )
    command = ["unshare", "--mount", "--map-root-user", "bash", "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    if result.returncode == 99 or "unshare" in result.stderr:
        pytest.skip("this machine lets nobody mount a small disk")
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.stdout.count("status 2") == 2, result.stdout + result.stderr
    assert "has 31.5 MB free, but 54.3 MB are needed" in errors[0]
    assert "No space left on device" in errors[1]
    assert "what is finished is kept" in errors[1]
    left = result.stdout.partition("status 2")[2].partition("status 2")[2].split()
    assert "dataset.json" not in left
    assert not [name for name in left if name.endswith(".partial")]


def test_from_a_bucket_into_a_bucket_and_back(bucket, tmp_path):
    images = write_images(tmp_path / "images", count=4, side=40)
    upload = (
        "import sys; from etils import epath\n"
        "for file in epath.Path(sys.argv[1]).glob('*/*.png'):\n"
        "    epath.Path('gs://bucket/images', file.parent.name, file.name).write_bytes(file.read_bytes())\n"
    )

    def python(*arguments):
        command = [sys.executable, *map(str, arguments)]
        result = subprocess.run(
            command, cwd=ROOT, env=os.environ | bucket, capture_output=True, text=True, timeout=1200
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    python("-c", upload, images)
    prepare = ("-m", "sagan_jax.prepare", "--resolution=64")
    python(*prepare, "--source=gs://bucket/images", "--out=gs://bucket/out")
    python(*prepare, f"--source={images}", f"--out={tmp_path / 'here'}")

    read = (
        "import sys, numpy as np; from sagan_jax.data.prepared import open_prepared\n"
        "source = open_prepared('gs://bucket/out', 64, sys.argv[1])\n"
        "np.savez(sys.argv[2], *source.load(np.arange(len(source))), source.name)\n"
    )
    for _ in range(2):  # the second time from the cache
        python("-c", read, tmp_path / "cache", tmp_path / "back.npz")
        local, back = open_prepared(str(tmp_path / "here"), 64), np.load(tmp_path / "back.npz")
        for expected, name in zip((*local.load(np.arange(8)), local.name), ("arr_0", "arr_1", "arr_2"), strict=True):
            np.testing.assert_array_equal(back[name], expected)
    assert "every file has the SHA-256" in python("-m", "sagan_jax.prepare", "--inspect=gs://bucket/out")


def test_tfds_data_is_prepared_with_its_class_names(imagenet, tmp_path):
    status, stdout, stderr = finished(start("tfds:imagenet2012", tmp_path / "out", f"--data-dir={imagenet}"))
    assert status == 0, stderr
    assert "988 of 1,000 classes have no image, such as" in stdout
    prepared = open_prepared(str(tmp_path / "out"), 64)
    records = TfdsImages("imagenet2012", "train", str(imagenet))
    assert prepared.class_names == records.class_names
    assert prepared.class_names[90] == "n01820546"
    images, labels = prepared.load(np.arange(len(prepared)))
    assert sorted(labels) == [i * 90 for i in range(12)]
    for image, label, file in zip(images, labels, records.shard(0, 1), strict=True):
        assert label == file.label
        np.testing.assert_array_equal(image, decode(file, 64))
