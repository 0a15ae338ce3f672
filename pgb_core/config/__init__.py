"""The settings of a compression: their names, types, limits and help texts. A config is checked once and then fixed."""

from pgb_core.config.common import CommonConfig
from pgb_core.config.compress import CompressConfig
from pgb_core.config.toml import from_toml
from pgb_core.config.values import Place

__all__ = ["CommonConfig", "CompressConfig", "Place", "from_toml"]
