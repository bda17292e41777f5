"""From scrapes to points: which samples, and only news."""

import math

from trialbus.kernel.errors import Transient
from trialbus_trial_launcher.core.scrapes import Sample, Unusable, WhyNone, news


def sample(name: str, value: float, at: float | None = None, **labels: str) -> Sample:
    return Sample(name, tuple(sorted(labels.items())), value, at)


def test_the_sample_without_labels_is_the_metric() -> None:
    plain = sample("loss", 0.5)
    assert news([sample("loss", 7.0, part="a"), plain, sample("x", 1.0)], ["loss"], {}) == [plain]


def test_without_such_a_sample_each_of_its_name_is_in_order() -> None:
    both = [sample("loss", 1.0, part="b"), sample("loss", 2.0, part="a")]
    assert news(both, ["loss", "none"], {}) == both


def test_what_has_not_changed_is_no_news() -> None:
    last = {
        'loss{part="a"}': (1.0, None),
        'loss{part="b"}': (math.nan, None),
        'loss{part="c"}': (1.0, 5.0),
    }
    assert news([sample("loss", 1.0, part="a")], ["loss"], last) == []
    assert news([sample("loss", math.nan, part="b")], ["loss"], last) == []
    assert news([sample("loss", 1.0, 5.0, part="c")], ["loss"], last) == []
    changed = [
        sample("loss", 2.0, part="a"),
        sample("loss", 1.0, part="b"),
        sample("loss", 1.0, 6.0, part="c"),
    ]
    assert news(changed, ["loss"], last) == changed


def test_what_was_wrong_with_an_answer_outlasts_that_there_was_none() -> None:
    why = WhyNone()
    why.failed(Transient("not yet"))
    assert why.text == "not yet"
    why.failed(Unusable("status 404"))
    why.failed(Transient("not any more"))
    assert why.text == "status 404"
    why.failed(Unusable("status 500"))
    assert why.text == "status 500"


def test_an_answer_without_samples_is_told_and_one_with_them_is_no_trouble() -> None:
    why = WhyNone()
    why.came([])
    why.failed(Transient("not any more"))
    assert why.text == "its answer had no samples"
    why.came([sample("loss", 0.5)])
    why.failed(Transient("not any more"))
    assert not why.text
