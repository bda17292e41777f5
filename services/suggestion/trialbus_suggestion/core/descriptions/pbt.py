"""Population based training."""

from trialbus.kernel.catalogue import AlgorithmDescription, Setting
from trialbus.kernel.checkpoints import FOLDER_SETTING
from trialbus_suggestion.core.descriptions.shared_settings import (
    ALL_DISTRIBUTIONS,
    ALL_TYPES,
    RANDOM_STATE,
)
from trialbus_suggestion.core.pbt_checks import MIN_POPULATION, check_pbt


def _is_share(value: float) -> bool:
    return 0 <= value <= 1


def _is_folder(value: str) -> bool:
    return value.startswith("/") and value.strip("/") != "" and ".." not in value.split("/")


PBT = AlgorithmDescription(
    name="pbt",
    settings=(
        Setting(
            name=FOLDER_SETTING,
            kind="str",
            check=_is_folder,
            message=f"Param({FOLDER_SETTING}) should be the absolute path of a folder",
            meaning="The folder of checkpoints as the trial's command names it: its occurrences "
            "become the trial's own, which has the parent's content when the trial begins. "
            "Without it a trial is only told where its parent's checkpoint is.",
        ),
        Setting(
            name="n_population",
            kind="int",
            check=lambda value: bool(value >= MIN_POPULATION),
            message=f"Param(n_population) should be >= {MIN_POPULATION}",
            meaning="How many members are trained side by side, at least 5. Must be set.",
        ),
        Setting(
            name="truncation_threshold",
            kind="float",
            check=_is_share,
            message="Param(truncation_threshold) should be between 0 and 1, inclusive",
            meaning="The share of the members that give up and copy one of the same share of the "
            "best; 0: nobody copies but who failed. Must be set.",
        ),
        Setting(
            name="resample_probability",
            kind="float",
            default=0.0,
            check=_is_share,
            message="Param(resample_probability) should be null to perturb at 0.8 or 1.2, or be "
            "between 0 and 1, inclusive, to resample",
            meaning="How likely each parameter of a copy is drawn anew; otherwise it is perturbed.",
        ),
        RANDOM_STATE,
    ),
    check=check_pbt,
    look_ahead="none",
    parameter_types=ALL_TYPES,
    distributions=ALL_DISTRIBUTIONS,
    implementation="trialbus_suggestion.core.pbt:PopulationBasedTraining",
    meaning="Population based training: members train in turns; after each, the worst copy "
    "parameters and checkpoint of one of the best, and change the parameters a little. So it finds "
    "a schedule of parameters, and needs trials that save and resume. Source: Jaderberg et al. "
    "2017 (arXiv 1711.09846).",
)
