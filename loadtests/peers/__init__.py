"""Ask and tell beside other systems: trials a second with a no-op objective."""
