"""The page about genotypes: what is set against what."""

from pathlib import Path

from loadtests.quality.genotype_report import Earnest, Training, picked, write_report


def training(name: str, selections: tuple[float, ...], tests: tuple[float, ...]) -> Training:
    return Training(
        name=name, genotype="G", weights=7, selections=selections, tests=tests, cpu_s=10.0
    )


def test_random_search_is_measured_on_trainings_that_did_not_choose() -> None:
    # Chosen by either seed, the second is the winner, and its other training is measured.
    randoms = [
        training("random 0", (0.1, 0.1), (0.9, 0.9)),
        training("random 1", (1, 1), (0.2, 0.4)),
    ]
    assert set(picked(randoms, 2)) == {0.2, 0.4}


def test_with_the_same_cpu_time_random_search_has_the_search_and_a_training(tmp_path: Path) -> None:
    found = [training(f"darts {it}", (0.5,), (0.5 + it / 10,)) for it in range(2)]
    # Selection has the tests upside down: the best of all three chosen by it is the worst.
    randoms = [training(f"random {it}", (1 - it / 10,), (0.4 + it / 10,)) for it in range(3)]
    shorts = [training(f"random {it}", (it / 10,), (0.0,)) for it in range(3)]
    short = [training(it.name, (0.5, 0.5), (0.5, 0.5)) for it in (*found, *randoms)]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    write_report(page, short, Earnest(found=found, randoms=randoms, shorts=shorts), [9.0, 11.0])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    # Ten seconds of search and ten of training are two trainings. Pairs of three: 0-1, 0-2, 1-2.
    assert (
        "| the best of 2 drawn at random, each trained for long | 3 choices | 0.4333 | 0.0471 "
        "| 0.4000 | 0.5000 | 20 |"
    ) in text
    assert "| found by DARTS | 2 | 0.5500 | 0.0500 | 0.5000 | 0.6000 | 20 |" in text
    assert "chosen by a short training of each | 1 | 0.6000 | | | | 40 |" in text
    assert page.with_suffix(".svg").exists()
