"""The launch scripts: what they would run, and that they start again exactly when they should."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from places import ROOT, WITHOUT_TENSORFLOW
from runs import LIMIT, run_flags, wait_for_step, wait_until

from sagan_jax.runtime.workdir import read_metrics

LAUNCH = ROOT / "launch"
SCRIPTS = ("local_multiprocess.sh", "slurm.sbatch", "tpu_pod.sh")
FLAGS = ("--config=configs/digits.py", "--workdir=gs://bucket/a run")


def launch(script, *arguments, **environment):
    command = ["bash", str(LAUNCH / script), *arguments]
    environment = os.environ | {"PYTHON": sys.executable, "POLL_SECONDS": "0"} | environment
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def fake(folder, name, script):
    """A program for the PATH that notes its arguments."""
    file = folder / name
    file.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >> {folder}/calls\n{script}\n')
    file.chmod(0o755)


@pytest.fixture(autouse=True)
def programs(tmp_path, monkeypatch):
    """A folder before all others on the PATH: no test may reach a real cloud or cluster."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "calls").touch()
    for name in ("gcloud", "srun", "scontrol"):
        fake(folder, name, "exit 99")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    return folder


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script):
    checker = shutil.which("shellcheck") or os.path.join(os.path.dirname(sys.executable), "shellcheck")
    result = subprocess.run([checker, str(LAUNCH / script)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_bad_use_gets_one_sentence(script):
    result = launch(script, "--config.train.steps=5")
    assert result.returncode == 2
    assert result.stderr.startswith("error: give ")
    assert len(result.stderr.splitlines()) == 1


def test_local_processes_are_told_of_each_other():
    result = launch("local_multiprocess.sh", "--dry-run", "2", *FLAGS, DEVICES_PER_PROCESS="3", GPUS_PER_PROCESS="2")
    first, second = result.stdout.splitlines()
    assert "JAX_NUM_CPU_DEVICES=3 CUDA_VISIBLE_DEVICES=0\\,1 " in first
    assert "CUDA_VISIBLE_DEVICES=2\\,3 " in second
    assert first.partition("--process=")[0].split()[3:] == second.partition("--process=")[0].split()[3:]
    assert first.endswith("--processes=2 --process=0 ")
    assert r"--workdir=gs://bucket/a\ run --coordinator=localhost:" in first


@pytest.mark.parametrize("script", ["launch/local_multiprocess.sh", "launch/slurm.sbatch", "bench/gpu.sh"])
@pytest.mark.parametrize("given", ["", ".venv", ".venv and a name"])
def test_the_python_is_that_of_the_project(programs, tmp_path, script, given):
    project = tmp_path / "project"
    copy = project / script
    copy.parent.mkdir(parents=True)
    shutil.copy(ROOT / script, copy)
    answer = f'echo "$0 $*" >> {programs}/calls\n[[ "$*" == -c* ]] && echo 1234'
    fake(programs, "python3", answer)
    expected = programs / "python3"
    if given:
        expected = project / ".venv" / "bin" / "python"
        expected.parent.mkdir(parents=True)
        fake(expected.parent, "python", answer)
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "SAGAN_PYTHON")}
    if given.endswith("a name"):
        fake(programs, "mine", answer)
        expected = programs / "mine"
        variables |= {"PYTHON": str(expected), "SAGAN_PYTHON": str(expected)}
    arguments = {"gpu.sh": ["RESULT.json"], "slurm.sbatch": ["--dry-run", *FLAGS]}
    arguments = arguments.get(copy.name, ["--dry-run", "1", *FLAGS])
    result = subprocess.run(["bash", script, *arguments], cwd=project, env=variables, capture_output=True, text=True)
    found = result.stdout + (programs / "calls").read_text()
    names = [word for word in found.split() if word.endswith(("python", "python3", "mine"))]
    assert names, result.stderr
    found = [project / name if "/" in name else shutil.which(name, path=variables["PATH"]) for name in names]
    assert {os.path.realpath(name) for name in found} == {str(expected)}


LOCAL = {
    # what each process does, the status of all, and how many seconds they take at most
    "all end well": (["exit 0", "sleep 0.5"], 0, 5),
    "stopped": (["sleep 0.5; exit 75", "exit 75"], 75, 60),
    "the first to fail says why": (["sleep 1; exit 134", "sleep 0.3; exit 3"], 3, 60),
    "others hang": (["exit 76", "trap : TERM; for i in {1..6000}; do sleep 1; done"], 76, 600),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] if case == "others hang" else []) for case in LOCAL]
)
def test_the_status_is_that_of_the_first_local_process_to_fail(programs, case):
    scripts, status, seconds = LOCAL[case]
    cases = "".join(f"*--process={index}) {script} ;;\n" for index, script in enumerate(scripts))
    fake(programs, "python", f'case "$*" in -c*) echo 1234 ;;\n{cases}esac')
    begin = time.monotonic()
    result = launch("local_multiprocess.sh", "2", *FLAGS, PYTHON=str(programs / "python"))
    assert result.returncode == status, result.stderr
    assert time.monotonic() - begin < seconds


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_all_local_processes(programs, number):
    notice = f"trap 'echo told >> {programs}/told; exit 75' TERM; echo ready >> {programs}/ready"
    fake(
        programs, "python", f'[[ "$*" == -c* ]] && echo 1234 && exit\n{notice}\nfor i in {{1..300}}; do sleep 0.1; done'
    )
    # bash cannot trap a signal that was ignored when it began, as SIGINT is where the tests run in the background.
    command = ["env", "--default-signal=INT", "bash", str(LAUNCH / "local_multiprocess.sh"), "3", *FLAGS]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHON": str(programs / "python")})
    ready = programs / "ready"
    wait_until(lambda: ready.exists() and ready.read_text().count("ready") == 3)
    process.send_signal(number)
    assert process.wait(600) == 75
    assert (programs / "told").read_text().count("told") == 3


def test_slurm_runs_all_tasks(programs):
    result = launch("slurm.sbatch", "--dry-run", *FLAGS)
    assert result.returncode == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith("srun --kill-on-bad-exit=0 bash -c ")
    assert re.search(r" task \S+ -m sagan_jax.main --config=configs/digits.py --workdir=gs://bucket/a\\ run $", line)
    assert not (programs / "calls").read_text()


@pytest.mark.parametrize(
    ("given", "devices"),
    [
        ({}, ""),
        ({"SLURM_GPUS_ON_NODE": "8"}, "0,1,2,3,4,5,6,7"),
        ({"SLURM_GPUS_ON_NODE": "1", "SLURM_NTASKS_PER_NODE": "1"}, "0"),
        ({"SLURM_GPUS_ON_NODE": "8", "SLURM_NTASKS_PER_NODE": "8"}, ""),  # JAX then gives each its own
    ],
)
def test_the_one_task_of_a_node_has_all_its_gpus(programs, given, devices):
    fake(programs, "srun", f'echo "${{JAX_LOCAL_DEVICE_IDS:-}}" > {programs}/devices')
    assert launch("slurm.sbatch", *FLAGS, **given).returncode == 0
    assert (programs / "devices").read_text() == f"{devices}\n"


# Runs what is given to srun as so many tasks, each a process group of its own; ends with the highest status.
TASKS = """
    shift; tasks=()
    for ((task = 0; task < {tasks}; task++)); do
      SLURM_STEP_NODELIST=localhost SLURM_NTASKS={tasks} SLURM_PROCID=$task SLURM_LOCALID=$task setsid "$@" &
      tasks+=($!); echo $! >> {folder}/groups
    done
    highest=0
    for task in ${{tasks[@]}}; do
      status=0; wait $task || status=$?
      if [[ $status -gt $highest ]]; then highest=$status; fi
    done
    exit $highest"""
SLURM = {
    # the statuses of the tasks, that of the job, and whether it is queued again
    "finished": ([0, 0], 0, False),
    "stopped": ([75, 75], 0, True),
    "hung, and another lost it": ([134, 76], 0, True),
    "bad input, and another lost it": ([2, 134], 2, False),
    "diverged, and another lost it": ([134, 3], 3, False),
    "stopped, and one could not join": ([75, 2], 0, True),
    "stopped while the processes were joining": ([143, 1], 0, True),
    "failed": ([1, 0], 1, False),
    "failed later": ([1, 134], 0, True),
    "bad input later": ([2, 134], 2, False),
    "finished later": ([0, 0], 0, False),
}


@pytest.mark.parametrize("case", SLURM)
def test_slurm_requeues_what_can_go_on(programs, case):
    statuses, status, requeued = SLURM[case]
    since = {"SECONDS": "600"} if case.endswith(" later") else {}  # where bash begins to count
    fake(programs, "srun", TASKS.format(tasks=len(statuses), folder=programs))
    fake(programs, "scontrol", "")
    fake(programs, "python", f"statuses=({' '.join(map(str, statuses))}); exit ${{statuses[$SLURM_PROCID]}}")
    result = launch("slurm.sbatch", *FLAGS, SLURM_JOB_ID="7", SAGAN_PYTHON=str(programs / "python"), **since)
    assert result.returncode == status, result.stderr
    assert ("scontrol requeue 7" in (programs / "calls").read_text()) == requeued


def test_a_job_that_slurm_does_not_start_fails(programs):
    assert launch("slurm.sbatch", *FLAGS, SLURM_JOB_ID="7").returncode == 99
    assert "scontrol" not in (programs / "calls").read_text()


def test_a_job_that_cannot_be_queued_again_fails(programs):
    fake(programs, "srun", "echo sagan_jax ended with 75")
    assert launch("slurm.sbatch", *FLAGS, SLURM_JOB_ID="7").returncode == 99


def test_a_pod_is_made_filled_and_used(programs):
    result = launch("tpu_pod.sh", "--dry-run", *FLAGS, NAME="n", ZONE="z", PROJECT="p", TYPE="v4-32", SPOT="0")
    assert result.returncode == 0
    archive, create, copy, install, train = result.stdout.splitlines()
    assert archive.startswith("git -C ")
    assert create == (
        "gcloud compute tpus queued-resources create n --zone=z --project=p --node-id=n --accelerator-type=v4-32"
        " --runtime-version=v2-alpha-tpuv5-lite "
    )
    assert copy.endswith("/sagan_jax.tar.gz n:sagan_jax.tar.gz --zone=z --project=p --worker=all ")
    assert "constraints.txt" in install
    assert "sagan_jax.main" in train
    assert not (programs / "calls").read_text()
    assert launch("tpu_pod.sh", "--dry-run", *FLAGS).stdout.splitlines()[1].endswith(" --spot ")


PODS = {
    # the states of request and machines after the first start, what the machines end with in each life ("-": the
    # connection is lost), how often the training is started, and the status
    "finished": ("ACTIVE READY", ["0 0"], 1, 0),
    "stopped, then finished": ("ACTIVE READY", ["75 75", "0 0"], 2, 0),
    "hung, then finished": ("ACTIVE READY", ["76 134", "0 0"], 2, 0),
    "lost, then finished": ("ACTIVE READY", ["-", "0 0"], 2, 0),
    "stopped while joining, then finished": ("ACTIVE READY", ["143 1", "0 0"], 2, 0),
    "one lost and connected again": ("ACTIVE READY", ["75 2", "0 0"], 2, 0),
    "taken away, then finished": ("SUSPENDED -", ["-", "0 0"], 2, 0),
    "taken away, which the request does not say yet": ("ACTIVE PREEMPTED", ["-", "0 0"], 2, 0),
    "bad input": ("ACTIVE READY", ["2 1"], 1, 2),
    "diverged": ("ACTIVE READY", ["3 134"], 1, 3),
    "fails again and again": ("ACTIVE READY", ["1 1"] * 9, 3, 1),
}


@pytest.mark.parametrize("case", PODS)
def test_a_pod_is_used_again_until_the_run_is_finished(programs, case):
    later, lives, uses, status = PODS[case]
    (programs / "lives").write_text("\n".join(lives) + "\n")
    request, machines = later.split()
    fake(
        programs,
        "gcloud",
        f"""cd {programs}
        case "$*" in
          *queued-resources\\ describe*)
            if [[ ! -e made ]]; then echo "ERROR: NOT_FOUND: no such thing" >&2; exit 1; fi
            if [[ -e used ]]; then echo {request}; else echo ACTIVE; fi ;;
          *tpu-vm\\ describe*) if [[ -e used ]]; then echo {machines}; else echo READY; fi ;;
          *queued-resources\\ create*) touch made ;;
          *queued-resources\\ delete*) rm made used ;;
          *sagan_jax.main*) touch used
            statuses=$(head -n 1 lives); sed -i 1d lives
            if [[ $statuses == - ]]; then exit 255; fi
            for status in $statuses; do echo "sagan_jax ended with $status"; done ;;
        esac""",
    )
    result = launch("tpu_pod.sh", *FLAGS, RETRIES="2")
    assert result.returncode == status, result.stderr
    calls = (programs / "calls").read_text()
    assert calls.count("sagan_jax.main") == uses
    assert calls.count(" create ") == 1 + ("taken away" in case)
    assert "the pod stays" in result.stderr
    if "taken away" in case:
        assert calls.index(" delete ") < calls.rindex(" create ") < calls.rindex("sagan_jax.main")


UNREACHABLE = {
    # what is tried again, and what gcloud does
    "copying fails": ("scp", "*queued-resources*describe*) echo ACTIVE ;; *describe*) echo READY ;;"),
    "gcloud does not answer": ("describe", ""),
    "nothing can be asked for": ("create", "*describe*) echo NOT_FOUND >&2; exit 1 ;;"),
    "requests are turned down": ("delete", "*describe*) echo FAILED ;; *delete*) exit 0 ;;"),
    "one is turned down and stays": ("delete", "*describe*) echo FAILED ;;"),
    "a pod was taken away and stays": ("delete", "*describe*) echo SUSPENDED ;;"),
}


@pytest.mark.parametrize("case", UNREACHABLE)
def test_a_pod_that_cannot_be_had_is_given_up(programs, case):
    failing, answers = UNREACHABLE[case]
    fake(programs, "gcloud", f'case "$*" in {answers} *{failing}*) echo refused >&2; exit 255 ;; esac')
    result = launch("tpu_pod.sh", *FLAGS, RETRIES="2")
    assert result.returncode == 1
    assert (programs / "calls").read_text().count(f" {failing} ") == 3
    assert "failure 3" in result.stderr


def test_the_machines_of_a_pod_stop_what_runs_before_they_start(programs, tmp_path):
    """The commands for the machines are really run, in a home of their own and with a stand-in for Python."""
    home = tmp_path / "home"
    home.mkdir()
    fake(
        programs,
        "gcloud",
        f"""case "$*" in
          *queued-resources\\ describe*) echo ACTIVE ;;
          *tpu-vm\\ describe*) echo READY ;;
          *scp*) cp "$5" {home}/sagan_jax.tar.gz ;;
          *ssh*) cd {home}; command="${{@: -1}}"; command="${{command#--command=}}"
            HOME={home} bash -c "${{command//\\/dev\\/shm/{home}}}" ;;
        esac""",
    )
    # Makes the environment, whose Python runs until it is told to stop the first time.
    fake(
        programs,
        "python3",
        f'if [[ "$*" == *venv* ]]; then mkdir -p .venv/bin; cp {programs}/python .venv/bin/python; fi',
    )
    fake(
        programs,
        "python",
        f"""if [[ ! -e {home}/before ]]; then
          trap "echo > {home}/saved; exit 75" TERM; echo > {home}/before
          for ((i = 0; i < 300; i++)); do sleep 0.1; done; fi
        [[ -e {home}/saved ]] || exit 3
        printf "%s\\n" "$@" > {home}/arguments""",
    )
    command = ["bash", str(LAUNCH / "tpu_pod.sh"), *FLAGS]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until((home / "before").exists)
    first.kill()  # what runs on the machines goes on
    first.wait()
    result = launch("tpu_pod.sh", *FLAGS)
    assert result.returncode == 0, result.stderr
    assert (home / "arguments").read_text().splitlines() == ["-m", "sagan_jax.main", *FLAGS]
    assert (home / "sagan_jax" / "constraints.txt").exists()


def test_the_jobset_fits_the_schema_and_the_exit_statuses():
    validate = pytest.importorskip("kubernetes_validate").validate
    models = pytest.importorskip("kubeflow_trainer_api.models")
    jobset = yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    # These models are made from the JobSet's schema; a field that it does not know is not among what comes out.
    known = models.JobsetV1alpha2JobSet.from_dict(jobset).to_dict()
    assert [{**part, "template": None} for part in known["spec"].pop("replicatedJobs")] == [
        {**part, "template": None} for part in jobset["spec"]["replicatedJobs"]
    ]
    others = {name: part for name, part in jobset["spec"].items() if name != "replicatedJobs"}
    assert known == jobset | {"spec": others}
    (part,) = jobset["spec"]["replicatedJobs"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "slice"}} | part["template"]
    validate(job, "1.31", strict=True)
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2, 3]
    assert job["spec"]["parallelism"] == job["spec"]["completions"] > 1
    assert (job["spec"]["completionMode"], job["spec"]["backoffLimit"]) == ("Indexed", 0)
    assert job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 120
    policy = jobset["spec"]["failurePolicy"]
    assert policy["maxRestarts"] > 10
    (rule,) = policy["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
    assert re.fullmatch("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert any(flag.startswith("--workdir=gs://") for flag in container["args"])
    config = next(flag for flag in container["args"] if flag.startswith("--config="))
    assert (ROOT / config.removeprefix("--config=")).exists()


def test_the_image_holds_what_it_names():
    lines = (LAUNCH / "Dockerfile").read_text().splitlines()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in lines:
        if line.startswith("COPY "):
            for name in line.split()[1:-1]:
                assert (ROOT / name).exists(), name
                assert f"!{name}" in ignored


def start(script, *arguments, **environment):
    environment = {"PYTHON": sys.executable, "PYTHONPATH": WITHOUT_TENSORFLOW} | environment
    environment |= {"JAX_NUM_CPU_DEVICES": "1"}
    command = ["bash", str(LAUNCH / script), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, **pipes)


@pytest.mark.slow
def test_local_processes_train_and_stop_together(tmp_path):
    process = start("local_multiprocess.sh", "2", *run_flags(tmp_path, 10**6), DEVICES_PER_PROCESS="2")
    wait_for_step(tmp_path, 3)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=LIMIT)[0]
    assert process.returncode == 75, output
    assert "4 x cpu, 2 processes" in output
    steps = [row["step"] for row in read_metrics(tmp_path)]
    assert steps == list(range(1, len(steps) + 1))
    assert f"stopped and saved after step {steps[-1]:,}" in output


@pytest.mark.slow
def test_slurm_tasks_train_and_are_queued_again(programs, tmp_path):
    """Two real processes find each other as Slurm's tasks, and are signalled as Slurm does before the time limit."""
    fake(programs, "srun", TASKS.format(tasks=2, folder=programs))
    fake(programs, "scontrol", "")
    workdir = tmp_path / "run"
    job = str(os.getpid())  # the coordinator's port comes from it
    process = start("slurm.sbatch", *run_flags(workdir, 10**6), SLURM_JOB_ID=job, SAGAN_PYTHON=sys.executable)
    wait_for_step(workdir, 3)
    for group in (programs / "groups").read_text().split():
        os.killpg(int(group), signal.SIGTERM)
    output = process.communicate(timeout=LIMIT)[0]
    assert process.returncode == 0, output
    assert "2 processes" in output
    assert output.count("sagan_jax ended with 75") == 2
    assert f"scontrol requeue {job}" in (programs / "calls").read_text()
