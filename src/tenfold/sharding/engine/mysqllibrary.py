"""Which library speaks to a MySQL or MariaDB server. Edge."""

from __future__ import annotations

from types import ModuleType

from tenfold.errors import ConfigError
from tenfold.sharding.engine.mysqlline import Library
from tenfold.sharding.engine.mysqloptions import DRIVER_VARIABLE, MysqlOptions
from tenfold.sharding.engine.mysqlsession import Pymysql

mysqldbline: ModuleType | None
try:  # once, before there are threads
    from tenfold.sharding.engine import mysqldbline
except ImportError:
    mysqldbline = None

PYMYSQL = Pymysql()


def library(options: MysqlOptions) -> Library:
    """mysqlclient where it is installed and can do all that is wanted, else PyMySQL.

    Raises  ConfigError where `options.driver` names one that is not there.
    """
    wanted = options.driver
    if wanted == "pymysql":
        return PYMYSQL
    if wanted not in (None, "mysqlclient"):
        raise ConfigError(f"{DRIVER_VARIABLE} is {wanted!r}", hint="write pymysql or mysqlclient, or unset it")
    why: str | None = "it is not installed"
    if mysqldbline is not None:
        why = mysqldbline.unusable()
        if why is None:
            # Asked for by name or not: a certificate that is not verified is no choice.
            chosen: Library = mysqldbline.Mysqldb(options.host) if mysqldbline.fits(options) else PYMYSQL
            return chosen
    if wanted is not None:
        raise ConfigError(
            f"{DRIVER_VARIABLE} is mysqlclient, but {why}", hint='pip install "tenfold[mysqlclient]", or unset it'
        )
    return PYMYSQL
