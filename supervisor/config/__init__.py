"""The configuration: its sources in order of precedence, and the values in force.

    --set KEY=VALUE  >  CLOUDCORE_... variables  >  the file  >  cloudcore.toml as shipped

`load` merges the four, checks everything, and raises a ConfigError with all faults.
"""

from supervisor.config.faults import ConfigError, Fault
from supervisor.config.loading import Configuration, ModuleSpec, load
from supervisor.config.tables import LogSettings

__all__ = ["ConfigError", "Configuration", "Fault", "LogSettings", "ModuleSpec", "load"]
