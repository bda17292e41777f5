"""Runs as processes of this machine: started once, outliving the launcher, adopted by the next.

The protocol is explained in docs/explanation/local-runs.md.
"""

from trialbus_trial_launcher.adapters.local_process.folders import boot_id
from trialbus_trial_launcher.adapters.local_process.launcher import LocalProcessLauncher
from trialbus_trial_launcher.adapters.local_process.ports import FreePorts

__all__ = ["FreePorts", "LocalProcessLauncher", "boot_id"]
