"""What the settings say about how trials run on one machine."""

import sys

from trialbus.kernel.templates import DefaultTemplate
from trialbus.runtime.settings import Settings

_BUNDLED_TRAINER = ("-m", "trialbus.local.trainers.digits")


def interpreter(settings: Settings) -> str:
    """What `python` and `python3` mean in a trial's command."""
    return settings.interpreter or sys.executable


def default_template(settings: Settings) -> DefaultTemplate:
    """For experiments without a trial template: the bundled trainer."""
    return DefaultTemplate(command=(interpreter(settings), *_BUNDLED_TRAINER))
