"""A gateway's last ports are remembered from what it announced, or not at all."""

from pathlib import Path

import pytest

from trialbus.local.service_process import last_ports_of_gateway


def test_they_are_those_it_announced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    announced = '{"http": "http://127.0.0.1:20001", "grpc": "127.0.0.1:20002"}'
    (tmp_path / "run" / "gateway.json").write_text(announced)
    assert last_ports_of_gateway(tmp_path) == {"http_port": 20001, "grpc_port": 20002}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"http": 1, "grpc": 2}', '{"http": "x:y"}'])
def test_what_cannot_be_read_is_forgotten(tmp_path: Path, text: str) -> None:
    assert last_ports_of_gateway(tmp_path) == {}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "gateway.json").write_text(text)
    assert last_ports_of_gateway(tmp_path) == {}
