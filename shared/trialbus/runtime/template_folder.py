"""Templates that an experiment only names, on one machine: files in a folder.

What Katib keeps in the entry E of the ConfigMap C of the namespace N is the file `N/C/E` here.
"""

from pathlib import Path

from trialbus.contracts.katib.template_sources import Template, TemplateReference
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.limits import MAX_YAML_BYTES
from trialbus.runtime.settings import Settings

_FOLDER = "templates"


class TemplateFolder:
    """A `TemplateSource`; a file is read each time, so that an edited one counts at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, reference: TemplateReference) -> Template:
        file = self._folder.absolute() / reference.namespace / reference.name / reference.path
        # A pipe or device would be waited for.
        if not file.is_file():
            raise _refused(f"there is no file {file}")
        try:
            with file.open("rb") as opened:
                data = opened.read(MAX_YAML_BYTES + 1)
            if len(data) > MAX_YAML_BYTES:
                raise _refused(f"{file} is longer than {MAX_YAML_BYTES} bytes")
            return data.decode()
        except OSError as error:
            raise _refused(f"cannot read {file}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise _refused(f"{file} is no UTF-8 text: {error}") from error


def template_folder(settings: Settings) -> TemplateFolder:
    """The one that the settings say: by default `templates` in the data folder."""
    configured = settings.templates_dir
    return TemplateFolder(Path(configured) if configured else settings.data_dir / _FOLDER)


def _refused(message: str) -> Refused:
    return Refused([Problem(field="", message=message)])
