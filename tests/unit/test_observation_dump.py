"""Katib's table of observations, as each database writes it."""

from pathlib import Path

import pytest

from trialbus.cli.failures import CommandFailed
from trialbus.cli.observation_dump import Dump, read_dump

MYSQL = r"""-- MySQL dump 10.13  Distrib 8.0.29
DROP TABLE IF EXISTS `observation_logs`;
CREATE TABLE `observation_logs` (
  `trial_name` varchar(255) NOT NULL,
  `id` int NOT NULL AUTO_INCREMENT
);
INSERT INTO `observation_logs` VALUES ('a-1',1,'2024-03-01 10:00:00.500000','loss','0.5'),
('a-1',2,'2024-03-01 10:00:02.000000','loss','0.25'),
('b\'s (1)',3,'2024-03-01 10:00:01.000000','accuracy','0.9');
INSERT INTO `observation_logs` VALUES ('a-1',4,'2024-03-01 10:00:01.000000','loss','0.375'),
('a-1',5,'2024-03-01 10:00:03.000000','genotype','Genotype(normal=[(\'sep\', 1)],
 reduce=[])'),('gone',6,'2024-03-01 10:00:03.000000','loss','1');
INSERT INTO `other` VALUES ('a-1',7,'2024-03-01 10:00:04.000000','loss','9');
"""
COPY = """--
COPY public.observation_logs (trial_name, id, "time", metric_name, value) FROM stdin;
a-1\t1\t2024-03-01 10:00:00.5\tloss\t0.5
a-1\t2\t2024-03-01 10:00:02\tloss\tnan
\\.

COPY public.other (trial_name, id, "time", metric_name, value) FROM stdin;
a-1\t1\t2024-03-01 10:00:00.5\tloss\t7
\\.
"""
INSERTS = """INSERT INTO public.observation_logs VALUES ('a-1', 1, '2024-03-01', 'loss', '0.5');
INSERT INTO public.observation_logs (value, trial_name, metric_name, "time") VALUES
  ('0.25', 'a-1', 'loss', '2024-03-01 10:00:01'),
  ('what''s up', 'a-1', 'loss', '2024-03-01 10:00:02');
"""
TABLE = """trial_name\tid\ttime\tmetric_name\tvalue
a-1\t1\t2024-03-01T10:00:00Z\tloss\t1e-3
a-1\t2\tyesterday\tloss\t1
"""
TEN = 1709287200.0


def dump(tmp_path: Path, text: str, *wanted: str) -> Dump:
    file = tmp_path / "dump"
    file.write_text(text)
    return read_dump(str(file), wanted or ("a-1",))


def curve(found: Dump, trial: str, metric: str) -> list[tuple[float, float]]:
    points = found.trials[trial][metric]
    return [(at - TEN, value) for at, value in zip(points.times, points.values, strict=True)]


def test_mysqldump(tmp_path: Path) -> None:
    found = dump(tmp_path, MYSQL, "a-1", "b's (1)")
    assert curve(found, "a-1", "loss") == [(0.5, 0.5), (1.0, 0.375), (2.0, 0.25)]
    assert curve(found, "b's (1)", "accuracy") == [(1.0, 0.9)]
    assert sorted(found.trials) == ["a-1", "b's (1)"]
    assert (found.rows, found.texts, found.broken) == (4, 1, 0)


def test_pg_dump_by_copy(tmp_path: Path) -> None:
    found = dump(tmp_path, COPY)
    [first, second] = curve(found, "a-1", "loss")
    assert first == (0.5, 0.5)
    assert second[0] == 2.0
    assert second[1] != second[1]  # NaN
    assert found.rows == 2


def test_pg_dump_by_inserts_with_columns_of_its_own_order(tmp_path: Path) -> None:
    found = dump(tmp_path, INSERTS)
    assert curve(found, "a-1", "loss") == [(-36000.0, 0.5), (1.0, 0.25)]
    assert found.texts == 1


def test_a_table_with_a_heading(tmp_path: Path) -> None:
    found = dump(tmp_path, TABLE)
    assert curve(found, "a-1", "loss") == [(0.0, 0.001)]
    assert found.broken == 1


def test_a_row_that_never_ends_is_counted_as_broken(tmp_path: Path) -> None:
    found = dump(tmp_path, INSERTS + "INSERT INTO observation_logs VALUES ('a-1', 1, '2024")
    assert (found.rows, found.broken) == (2, 1)


@pytest.mark.parametrize(
    "text", [TABLE, COPY.split("\\.", maxsplit=1)[0], INSERTS], ids=["table", "copy", "inserts"]
)
@pytest.mark.parametrize("whole", [1, 2, 3])
def test_a_row_that_was_cut_off_is_counted_as_broken(tmp_path: Path, text: str, whole: int) -> None:
    cut = {
        TABLE: "\t".join(("a-1", "3", "2024-03-01 10:00:00")[:whole]),
        INSERTS: "INSERT INTO observation_logs VALUES ("
        + ",".join(("'a-1'", "3", "'2024-03-01 10:00:00'")[:whole])
        + ");",
    }
    before = dump(tmp_path, text)
    found = dump(tmp_path, text + cut.get(text, cut[TABLE]) + "\n")
    assert (found.rows, found.broken) == (before.rows, before.broken + 1)


def test_a_broken_row_does_not_take_the_next_statement_with_it(tmp_path: Path) -> None:
    broken = "INSERT INTO observation_logs VALUES ('a-1', 1, '2024-03-01', 'loss' 'x', '0.5');\n"
    before = dump(tmp_path, INSERTS)
    found = dump(tmp_path, broken + INSERTS)
    assert curve(found, "a-1", "loss") == curve(before, "a-1", "loss")
    assert (found.rows, found.broken) == (before.rows, before.broken + 1)


def test_a_field_without_an_end_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="is no table: field larger"):
        dump(tmp_path, TABLE + 'a-1\t3\t2024-03-01 10:00:00\tloss\t"' + "1" * 200_000)


@pytest.mark.parametrize("text", ["", "SELECT 1;\n", "a,b,c\n1,2,3\n"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CommandFailed, match="holds no rows of the table observation_logs"):
        dump(tmp_path, text)


def test_many_rows_in_one_statement_take_little_time(tmp_path: Path) -> None:
    rows = ",".join(f"('a-1',{i},'2024-03-01 10:00:00','loss','{i}')" for i in range(50_000))
    found = dump(tmp_path, f"INSERT INTO `observation_logs` VALUES {rows};\n")
    assert found.rows == 50_000
