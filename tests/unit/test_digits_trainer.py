"""The bundled trainer: its optimizers, its network, its data split and its command line."""

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trialbus.local.trainers import digits, digits_data
from trialbus.local.trainers.digits_data import Digits, DigitsMissingError, load_digits
from trialbus.local.trainers.flags import parse_flags
from trialbus.local.trainers.network import Network
from trialbus.local.trainers.optimizers import Adam, Ftrl, Optimizer, Sgd
from trialbus.local.trainers.snapshots import Snapshot
from trialbus.local.trainers.training import train

KATIB_DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"


@pytest.fixture(scope="module")
def data() -> Digits:
    return load_digits()


@pytest.fixture(autouse=True)
def _environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets the number of threads in its process, which is the tests' process here."""
    for name, value in digits.ONE_THREAD.items():
        monkeypatch.setenv(name, value)


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python process of its own, without the settings that the trainer is to make itself."""
    environment = {k: v for k, v in os.environ.items() if k not in digits.ONE_THREAD}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
    )


def follow(optimizer: Optimizer, first: float, gradients: list[float]) -> list[float]:
    """The weight of one coordinate after each of the gradients."""
    weights = np.array([first])
    path = []
    for gradient in gradients:
        optimizer.step(weights, np.array([gradient]))
        path.append(float(weights[0]))
    return path


def test_sgd_adds_the_decayed_last_step() -> None:
    # v: -0.1 * 1; then 0.5 * -0.1 - 0.1 * 2 = -0.25.
    path = follow(Sgd(size=1, lr=0.1, momentum=0.5), 0.0, [1.0, 2.0])
    assert path == pytest.approx([-0.1, -0.35])


@pytest.mark.parametrize("gradient", [-1e-3, 0.7, 250.0])
def test_adams_first_step_is_the_learning_rate_against_the_sign(gradient: float) -> None:
    (weight,) = follow(Adam(size=1, lr=0.02), 1.0, [gradient])
    assert weight == pytest.approx(1.0 - math.copysign(0.02, gradient), rel=1e-6)


def test_adams_second_step_uses_both_corrected_moments() -> None:
    # m: 0.5, 1.75; corrected by 1 - 0.5^2: 7/3. v: 0.25, 2.4375; corrected by 1 - 0.75^2: 39/7.
    adam = Adam(size=1, lr=0.1, beta1=0.5, beta2=0.75, epsilon=0.0)
    path = follow(adam, 0.0, [1.0, 3.0])
    assert path == pytest.approx([-0.1, -0.1 - 0.1 * (7 / 3) / math.sqrt(39 / 7)])


def test_ftrl_follows_two_steps_computed_by_hand() -> None:
    # z0 = -0.5 * 1 / 0.1 = -5.
    # g = 3: n = 9, sigma = 30, z = -5 + 3 - 30 * 0.5 = -17, w = 16.9 / (4 / 0.1 + 0.5).
    # g = 4: n = 25, sigma = 20, z = -17 + 4 - 20 * 16.9 / 40.5 = -13 - 338 / 40.5.
    ftrl = Ftrl(weights=np.array([0.5]), lr=0.1, beta=1.0, l1=0.1, l2=0.5)
    path = follow(ftrl, 0.5, [3.0, 4.0])
    assert path == pytest.approx([16.9 / 40.5, (13 + 338 / 40.5 - 0.1) / 60.5])


def test_ftrl_without_penalties_moves_from_the_first_weight_at_a_rate_of_its_own() -> None:
    # 2 - 0.1 * 3 / (1 + 3), then that - 0.1 * 4 / (1 + 5).
    ftrl = Ftrl(weights=np.array([2.0]), lr=0.1, beta=1.0)
    path = follow(ftrl, 2.0, [3.0, 4.0])
    assert path == pytest.approx([1.925, 1.925 - 0.4 / 6])


def test_ftrl_sets_a_weight_to_zero_when_its_evidence_is_below_l1() -> None:
    # z = -0.5 * 1 + 0.25 - 0.25 * 0.5 = -0.375, within l1 of zero.
    ftrl = Ftrl(weights=np.array([0.5]), lr=1.0, beta=1.0, l1=0.4)
    assert follow(ftrl, 0.5, [0.25]) == [0.0]


def test_the_schedules_rate_scales_a_step_of_sgd_and_adam() -> None:
    for optimizer in (Sgd(size=1, lr=0.1, momentum=0.9), Adam(size=1, lr=0.1)):
        weights = np.array([0.0])
        optimizer.step(weights, np.array([1.0]), rate=0.5)
        assert weights[0] == pytest.approx(-0.05)


def test_the_networks_gradient_is_that_of_its_loss() -> None:
    rng = np.random.default_rng(3)
    network = Network([5, 7, 6, 4], rng)
    images, labels = rng.normal(size=(9, 5)), rng.integers(0, 4, size=9)
    network.backward(images, labels)
    gradient = network.gradient.copy()
    numeric = np.zeros_like(gradient)
    for index in range(gradient.size):
        first = network.weights[index]
        network.weights[index] = first + 1e-6
        above = network.backward(images, labels)
        network.weights[index] = first - 1e-6
        below = network.backward(images, labels)
        network.weights[index] = first
        numeric[index] = (above - below) / 2e-6
    assert gradient == pytest.approx(numeric, abs=1e-7)


@pytest.mark.parametrize(("layers", "n_weights"), [(1, 65 * 10), (3, 65 * 64 + 65 * 64 + 65 * 10)])
def test_num_layers_counts_weight_layers(layers: int, n_weights: int) -> None:
    network = Network([64] + [64] * (layers - 1) + [10], np.random.default_rng(0))
    assert network.weights.shape == (n_weights,)


def test_every_image_is_either_trained_or_validated_on_and_each_class_is_shared_alike() -> None:
    labels = np.loadtxt(digits_data.digits_path(), delimiter=",")[:, -1].astype(np.int64)
    train_rows, validation_rows = digits_data.stratified_split(labels)
    assert sorted([*train_rows, *validation_rows]) == list(range(1797))
    share = np.bincount(labels[validation_rows]) / np.bincount(labels)
    assert share == pytest.approx(np.full(10, 0.2), abs=0.005)
    again, _ = digits_data.stratified_split(labels)
    assert np.array_equal(train_rows, again)


def test_images_are_standardised_by_the_training_images_alone(data: Digits) -> None:
    table = np.loadtxt(digits_data.digits_path(), delimiter=",")
    labels = table[:, -1].astype(np.int64)
    train_rows, validation_rows = digits_data.stratified_split(labels)
    raw = table[train_rows, :64]
    assert np.abs(data.train_images.mean(axis=0)).max() < 1e-12
    varied = raw.std(axis=0) > 1.0
    assert data.train_images.std(axis=0)[varied] == pytest.approx(np.ones(varied.sum()))
    expected = (table[validation_rows, 20] - raw[:, 20].mean()) / raw[:, 20].std()
    assert data.validation_images[:, 20] == pytest.approx(expected)


@pytest.mark.parametrize(
    "flags",
    [
        ["--optimizer=sgd", "--lr=0.03", "--num-layers=2"],
        ["--optimizer=adam", "--lr=0.02", "--num-layers=3"],
        ["--optimizer=ftrl", "--lr=0.03", "--num-layers=4"],
    ],
)
def test_each_optimizer_reaches_95_percent_of_the_validation_images(
    flags: list[str], data: Digits
) -> None:
    reports = list(train(parse_flags(flags), data))
    assert max(report.validation_accuracy for report in reports) >= 0.95
    assert reports[-1].validation_accuracy >= 0.95


def test_the_seed_decides_the_run(data: Digits) -> None:
    def run(seed: int) -> list[float]:
        settings = parse_flags([f"--seed={seed}", "--epochs=3", "--lr=0.01"])
        return [report.train_accuracy for report in train(settings, data)]

    assert run(5) == run(5)
    assert run(5) != run(6)


def test_a_run_prints_one_line_per_epoch_that_katibs_default_filter_reads(
    capsys: pytest.CaptureFixture[str], data: Digits
) -> None:
    flags = ["--lr=0.02", "--num-layers=2", "--optimizer=sgd", "--epochs=3"]
    assert digits.main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = list(train(parse_flags(flags), data))
    assert len(lines) == len(expected) == 3
    for line, report in zip(lines, expected, strict=True):
        found = [(match[0], match[1]) for match in re.findall(KATIB_DEFAULT_FILTER, line)]
        assert found == [
            ("epoch", str(report.epoch)),
            ("Train-accuracy", f"{report.train_accuracy:.4f}"),
            ("Validation-accuracy", f"{report.validation_accuracy:.4f}"),
        ]


def test_a_diverging_run_reports_its_accuracy_and_nothing_else() -> None:
    run = run_python("-m", "trialbus.local.trainers.digits", "--lr=1e30", "--epochs=2")
    assert re.fullmatch(
        r"(epoch=\d Train-accuracy=0\.\d+ Validation-accuracy=0\.[01]\d+\n){2}", run.stdout
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--lr=fast", "--lr: 'fast' is not a number above 0"),
        ("--lr=nan", "--lr: 'nan' is not a number above 0"),
        ("--lr=0", "--lr: '0' is not a number above 0"),
        ("--num-layers=0", "--num-layers: '0' is not a whole number from 1 to 100"),
        ("--num-layers=2.5", "--num-layers: '2.5' is not a whole number from 1 to 100"),
        ("--momentum=1", "--momentum: '1' is not a number from 0"),
        ("--optimizer=lion", "invalid choice: 'lion' (choose from 'sgd', 'adam', 'ftrl')"),
        ("--num=3", "unknown: '--num=3' (known flags: --lr, --num-layers, --optimizer"),
        ("lr=0.1", "unknown: 'lr=0.1' (known flags: --lr"),
        ("--width=3\n4", "unknown: '--width=3\\n4' (known flags: --lr"),
    ],
)
def test_a_wrong_flag_ends_with_2_and_one_line(
    flag: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        digits.main([flag])
    out, err = capsys.readouterr()
    assert end.value.code == 2
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


def test_the_data_set_is_found_without_scikit_learn_where_it_lies_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "share/trialbus"
    folder.mkdir(parents=True)
    (folder / "digits.csv.gz").write_bytes(digits_data.digits_path().read_bytes())
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert digits_data.digits_path() == folder / "digits.csv.gz"
    loaded = load_digits()
    assert len(loaded.train_labels) + len(loaded.validation_labels) == 1797


def test_missing_scikit_learn_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DigitsMissingError):
        load_digits()
    assert digits.main([]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "pip install scikit-learn" in err


def test_the_command_runs_on_one_thread_without_importing_scikit_learn() -> None:
    program = (
        "import os, sys\n"
        "from trialbus.local.trainers import digits\n"
        "assert 'numpy' not in sys.modules\n"
        "assert digits.main(['--epochs=1']) == 0\n"
        "assert 'sklearn' not in sys.modules\n"
        "print(os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS'])\n"
    )
    run = run_python("-c", program)
    assert run.stderr == ""
    assert run.stdout.splitlines()[-1] == "1 1"


def with_checkpoints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *flags: str, **folders: str
) -> list[str]:
    """The lines of a run between these checkpoints; what it complains of follows them."""
    for variable in ("TRIALBUS_CHECKPOINT", "TRIALBUS_PARENT_CHECKPOINT"):
        monkeypatch.setenv(variable, folders.get(variable, ""))
    assert digits.main(list(flags)) == 0
    captured = capsys.readouterr()
    return [*captured.out.splitlines(), *captured.err.splitlines()]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "ftrl"])
def test_a_run_goes_on_from_the_checkpoint_of_another(
    optimizer: str,
    tmp_path: Path,
    data: Digits,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """--epochs counts those of the parent; the settings of its end are taken up exactly."""
    flags = (f"--optimizer={optimizer}", "--lr=0.02", "--num-layers=2")
    folder = str(tmp_path)
    with_checkpoints(monkeypatch, capsys, *flags, "--epochs=2", TRIALBUS_CHECKPOINT=folder)
    (file,) = tmp_path.iterdir()
    lines = with_checkpoints(
        monkeypatch, capsys, *flags, "--epochs=5", TRIALBUS_PARENT_CHECKPOINT=folder
    )
    assert [line.split()[0] for line in lines] == ["epoch=3", "epoch=4", "epoch=5"]
    # The same in one process, without files.
    kept: list[Snapshot] = []
    settings = parse_flags([*flags, "--epochs=2"])
    list(train(settings, data, keep=kept.append))
    expected = list(train(parse_flags([*flags, "--epochs=5"]), data, kept[0]))
    shown = [f"Validation-accuracy={report.validation_accuracy:.4f}" for report in expected]
    assert [line.split()[2] for line in lines] == shown
    assert file.name == "digits.npz"


def test_all_epochs_there_already_are_as_many_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in population based training, where each trial is told the same number."""
    folder = str(tmp_path)
    run = ("--epochs=2", "--num-layers=1", "--lr=0.01")
    with_checkpoints(monkeypatch, capsys, *run, TRIALBUS_CHECKPOINT=folder)
    other = (*run, "--lr=0.05", "--optimizer=sgd")
    lines = with_checkpoints(monkeypatch, capsys, *other, TRIALBUS_PARENT_CHECKPOINT=folder)
    assert [line.split()[0] for line in lines] == ["epoch=3", "epoch=4"]


def test_a_checkpoint_that_is_of_no_use_is_said_and_the_run_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(layers: int, parent: str) -> list[str]:
        flags = ("--epochs=1", f"--num-layers={layers}")
        return with_checkpoints(
            monkeypatch, capsys, *flags, TRIALBUS_CHECKPOINT=str(tmp_path),
            TRIALBUS_PARENT_CHECKPOINT=parent,
        )  # fmt: skip

    first, said = run(1, str(tmp_path / "nowhere"))
    assert first.startswith("epoch=1 ")
    assert said.startswith(f"digits: begins anew: no checkpoint in {tmp_path}/nowhere")
    first, said = run(2, str(tmp_path))
    assert said == "digits: begins anew: the checkpoint's layers are 1 of 64, not 2 of 64"
    first, said = run(2, "s3://bucket/7")
    assert said.endswith("is a URI, and only folders are known here")
    (tmp_path / "digits.npz").write_bytes(b"no archive")
    assert run(2, str(tmp_path))[1].startswith("digits: begins anew: ")


def test_nothing_is_saved_where_no_trial_goes_on_from_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = ("--epochs=1", "--num-layers=1")
    for heirs, files in (("no", 0), ("perhaps", 1)):
        monkeypatch.setenv("TRIALBUS_HEIRS", heirs)
        with_checkpoints(monkeypatch, capsys, *run, TRIALBUS_CHECKPOINT=str(tmp_path))
        assert len(list(tmp_path.iterdir())) == files
