"""The folder of the bus's identities: made, made again, rotated, revoked; `trialbus auth nats`."""

import json
import stat
import subprocess
from pathlib import Path

import nkeys  # type: ignore[import-untyped]
import pytest

from trialbus.contracts.nats_identities import Role, outside
from trialbus.kernel.errors import NotThere, Refused
from trialbus.local import nats_accounts
from trialbus.testkit.programs import TRIALBUS

OURS = {
    "gateway",
    "experiment",
    "suggestion",
    "trial_launcher",
    "metrics_collector",
    "early_stopping",
    "provisioner",
}
PIPE = outside(Role.PIPELINE, "pipe", ["red"])


def seeds(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in folder.glob("*.seed")}


def accounts(folder: Path) -> dict[str, object]:
    _, _, rest = (folder / "accounts.conf").read_text().partition("accounts: ")
    found, _ = json.JSONDecoder().raw_decode(rest)
    return dict(found)


def users(folder: Path) -> set[str]:
    return {user["nkey"] for user in accounts(folder)["TRIALBUS"]["users"]}  # type: ignore[index]


def key_of(seed: str) -> str:
    return str(nkeys.from_seed(bytearray(seed.strip().encode())).public_key.decode())


def test_every_identity_has_a_seed_that_only_its_owner_reads(tmp_path: Path) -> None:
    folder = tmp_path / "auth"
    nats_accounts.make(folder, wanted=[PIPE])
    assert set(seeds(folder)) == OURS | {"pipe"}
    assert {stat.S_IMODE(it.stat().st_mode) for it in folder.glob("*.seed")} == {0o400}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert users(folder) == set(map(key_of, seeds(folder).values()))


def test_no_file_but_its_own_holds_a_seed(tmp_path: Path) -> None:
    nats_accounts.make(tmp_path)
    others = [it.read_text() for it in tmp_path.iterdir() if it.suffix != ".seed"]
    assert len(others) == 3
    assert [seed for seed in seeds(tmp_path).values() if seed.strip() in "".join(others)] == []


def test_what_is_there_stays(tmp_path: Path) -> None:
    nats_accounts.make(tmp_path, wanted=[PIPE])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    nats_accounts.make(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_operators_own_configuration_is_never_written_again(tmp_path: Path) -> None:
    nats_accounts.make(tmp_path)
    (tmp_path / "nats-server.conf").write_text("mine")
    nats_accounts.make(tmp_path, rotate=["gateway"])
    assert (tmp_path / "nats-server.conf").read_text() == "mine"


def test_seeds_that_were_taken_elsewhere_are_not_made_again(tmp_path: Path) -> None:
    nats_accounts.make(tmp_path)
    known = users(tmp_path)
    (tmp_path / "gateway.seed").unlink()
    nats_accounts.make(tmp_path)
    assert users(tmp_path) == known
    assert not (tmp_path / "gateway.seed").exists()


def test_a_lost_list_is_made_again_of_the_seeds(tmp_path: Path) -> None:
    nats_accounts.make(tmp_path)
    before = seeds(tmp_path)
    (tmp_path / "identities.json").unlink()
    nats_accounts.make(tmp_path)
    assert seeds(tmp_path) == before
    assert users(tmp_path) == set(map(key_of, before.values()))


def test_rotating_replaces_one_seed_and_no_other(tmp_path: Path) -> None:
    nats_accounts.make(tmp_path)
    before = seeds(tmp_path)
    nats_accounts.make(tmp_path, rotate=["gateway"])
    after = seeds(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"gateway"}
    assert key_of(before["gateway"]) not in users(tmp_path)
    assert key_of(after["gateway"]) in users(tmp_path)


def test_revoking_takes_out_the_user_and_the_seed(tmp_path: Path) -> None:
    nats_accounts.make(tmp_path, wanted=[PIPE])
    key = key_of(seeds(tmp_path)["pipe"])
    nats_accounts.make(tmp_path, revoke=["pipe"])
    assert key not in users(tmp_path)
    assert set(seeds(tmp_path)) == OURS


def test_the_system_account_is_apart_and_nobody_is_in_it(tmp_path: Path) -> None:
    nats_accounts.make(tmp_path)
    assert accounts(tmp_path)["SYS"] == {}
    text = (tmp_path / "accounts.conf").read_text()
    assert text.endswith('system_account: "SYS"\n')
    server = (tmp_path / "nats-server.conf").read_text()
    lines = [line.strip() for line in (text + server).splitlines()]
    assert not [line for line in lines if line.startswith("no_auth_user")]
    assert "sync_interval: always" in lines
    assert 'http: "127.0.0.1:8222"' in lines


def test_permissions_hold_no_wildcard_over_everything_and_no_shared_inbox(tmp_path: Path) -> None:
    nats_accounts.make(tmp_path, wanted=[PIPE])
    text = (tmp_path / "accounts.conf").read_text()
    for wide in ('">"', '"_INBOX.>"', '"$JS.>"', '"$JS.API.>"', '"$SYS.>"', "allow_responses"):
        assert wide not in text


@pytest.mark.parametrize(
    ("role", "name", "scopes", "problem"),
    [
        (Role.PIPELINE, "gateway", ["red"], "one of our own"),
        (Role.PIPELINE, "provisioner", ["red"], "one of our own"),
        (Role.PIPELINE, "a.b", ["red"], "no name"),
        (Role.PIPELINE, "../../x", ["red"], "no name"),
        (Role.PIPELINE, "p", [], "at least one"),
        (Role.PIPELINE, "p", ["*"], "not a namespace"),
        (Role.WORKER, "p", [">"], "not a namespace"),
        (Role.WORKER, "p", ["red.x"], "not a namespace"),
        (Role.WORKER, "p", ["red\r\nx"], "not a namespace"),
        (Role.TRIAL, "p", ["red"], "not <namespace>/<experiment>/<trial>"),
        (Role.TRIAL, "p", ["red/e/*"], "not <namespace>/<experiment>/<trial>"),
        (Role.TRIAL, "p", ["red/e/t", "red/e/u"], "one trial only"),
    ],
)
def test_who_is_wrongly_named_is_refused(
    role: Role, name: str, scopes: list[str], problem: str
) -> None:
    with pytest.raises(Refused, match=problem):
        outside(role, name, scopes)


def test_our_own_are_rotated_and_never_revoked(tmp_path: Path) -> None:
    nats_accounts.make(tmp_path)
    with pytest.raises(Refused, match="rotate it instead"):
        nats_accounts.make(tmp_path, revoke=["gateway"])
    with pytest.raises(NotThere, match="nobody"):
        nats_accounts.make(tmp_path, rotate=["nobody"])


def test_a_list_that_cannot_be_read_is_refused_and_nothing_is_made_of_it(tmp_path: Path) -> None:
    nats_accounts.make(tmp_path)
    (tmp_path / "identities.json").write_text('[{"name": "gateway"}]')
    with pytest.raises(Refused, match="cannot be read"):
        nats_accounts.make(tmp_path)
    assert (tmp_path / "identities.json").read_text() == '[{"name": "gateway"}]'


def auth_nats(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [*TRIALBUS, "auth", "nats", "--out", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_makes_a_pipeline_and_a_worker_at_first_and_shows_no_seed(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "auth"
    done = auth_nats(folder)
    assert done.returncode == 0, done.stderr
    assert set(seeds(folder)) == OURS | {"pipeline", "worker"}
    assert [seed for seed in seeds(folder).values() if seed.strip() in done.stdout] == []
    trial = "t1=red/e1/e1-abc"
    done = auth_nats(folder, "--pipeline", "nightly=red,blue", "--trial", trial)
    assert "pipeline of red, blue" in done.stdout
    assert set(seeds(folder)) == OURS | {"pipeline", "worker", "nightly", "t1"}


def test_the_command_says_what_is_wrong_and_makes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "auth"
    done = auth_nats(folder, "--worker", "gpu=*", "--pipeline", "gateway=red")
    assert (done.returncode, folder.exists()) == (2, False)
    assert "one of our own" in done.stderr
    done = auth_nats(folder, "--rotate", "nobody")
    assert done.returncode == 2
    assert "'nobody'" in done.stderr
